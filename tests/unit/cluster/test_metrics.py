"""The gauges follow a run's events; the watch behind hears everything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.cluster import metrics
from ulmfit_dist.cluster.metrics import Metered


class Gauge:
    made: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}  # noqa: RUF012

    def __init__(self, name: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.keys = name, set(tag_keys)
        self.made.setdefault(name, {})

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == self.keys
        self.made[self.name][tuple(sorted(tags.items()))] = value


class Heard:
    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, arguments))


@pytest.fixture
def metered(monkeypatch: pytest.MonkeyPatch) -> tuple[Metered, Heard]:
    Gauge.made.clear()
    monkeypatch.setattr(metrics, "Gauge", Gauge)
    heard = Heard()
    return Metered(heard, Path("runs/a"), 4, ["old"]), heard  # type: ignore[arg-type]


def test_states_speed_and_loss_become_gauges(metered: tuple[Metered, Heard]) -> None:
    watch, heard = metered
    watch.started("train")
    watch.progress("train", {"done": 1, "total": 4, "tokens_per_s": 90.0, "loss": 5.0})
    counts = {dict(tags)["state"]: value for tags, value in Gauge.made["ulmfit_stages"].items()}
    assert counts == {"waiting": 2, "running": 1, "done": 0, "kept": 1, "failed": 0, "blocked": 0}
    assert Gauge.made["ulmfit_stage_share"] == {(("run", "a"), ("stage", "train")): 0.25}
    assert Gauge.made["ulmfit_loss"] == {(("run", "a"), ("stage", "train")): 5.0}
    watch.ended("train", "done", 2.0)
    watch.ended("next", "blocked by train", 0.0)
    counts = {dict(tags)["state"]: value for tags, value in Gauge.made["ulmfit_stages"].items()}
    assert counts == {"waiting": 1, "running": 0, "done": 1, "kept": 1, "failed": 0, "blocked": 1}
    assert set(Gauge.made["ulmfit_tokens_per_second"].values()) == {0.0}
    assert [name for name, _ in heard.calls] == ["started", "progress", "ended", "ended"]


def test_everything_else_is_handed_on(metered: tuple[Metered, Heard]) -> None:
    watch, heard = metered
    watch.note("text")
    watch.close()
    assert heard.calls == [("note", ("text",)), ("close", ())]
