"""A run's figures for Prometheus, through the endpoint that Ray serves for the node of the coordinator.

`ray_ulmfit_stages{run, state}` counts stages (waiting, running, done, kept, failed, blocked); of each running one there
are `ray_ulmfit_stage_share{run, stage}` (0 to 1), `ray_ulmfit_tokens_per_second` and `ray_ulmfit_loss`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray.util.metrics import Gauge

from ulmfit_dist.cluster.console import Watch

_STATES = ("waiting", "running", "done", "kept", "failed", "blocked")


class Metered:
    """A watch that hands everything on to another one, and keeps the gauges."""

    def __init__(self, watch: Watch, run_dir: Path, num_stages: int, kept: Sequence[str]) -> None:
        """Count the stages that were done before (`kept`, by name) with the first one that starts."""
        self._watch, self._run, self._num_stages = watch, run_dir.name, num_stages
        self._states = dict.fromkeys(kept, "kept")
        self._gauges: dict[str, Gauge] = {}

    def started(self, stage: str) -> None:
        """Count a running stage."""
        self._states[stage] = "running"
        self._count()
        self._watch.started(stage)

    def progress(self, stage: str, event: dict[str, Any]) -> None:
        """Show what the event says of share, speed and loss."""
        share = event["done"] / event["total"] if event["total"] else 1.0
        for name, value in (
            ("stage_share", share),
            ("tokens_per_second", event.get("tokens_per_s")),
            ("loss", event.get("loss")),
        ):
            if isinstance(value, (int, float)):
                self._set(name, float(value), stage=stage)
        self._watch.progress(stage, event)

    def ended(self, stage: str, outcome: str, seconds: float) -> None:
        """Count an ended stage; it no longer runs at any speed."""
        self._states[stage] = outcome.partition(" ")[0]
        self._count()
        if outcome == "done":
            self._set("tokens_per_second", 0.0, stage=stage)
        self._watch.ended(stage, outcome, seconds)

    def note(self, text: str) -> None:
        """Hand it on."""
        self._watch.note(text)

    def close(self) -> None:
        """Hand it on."""
        self._watch.close()

    def _count(self) -> None:
        counts = Counter(self._states.values())
        counts["waiting"] = self._num_stages - len(self._states)
        for state in _STATES:
            self._set("stages", float(counts[state]), state=state)

    def _set(self, name: str, value: float, **tags: str) -> None:
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"ulmfit_{name}", tag_keys=("run", *tags))
        self._gauges[name].set(value, {"run": self._run, **tags})
