"""What a tracker is told, call by call, by stand-ins of MLflow and W&B with the calls of theirs that are used."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ulmfit_dist.training.tracker_child import MLflowRun, WandBRun, follow


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Every call of a stand-in, in order."""
    seen: list[tuple[Any, ...]] = []

    def start_run(run_id: str | None, run_name: str | None) -> SimpleNamespace:
        seen.append(("start", run_id, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id or "new"))

    mlflow = SimpleNamespace(
        start_run=start_run,
        log_params=lambda rows: seen.append(("params", rows)),
        log_metrics=lambda metrics, step: seen.append(("log", metrics, step)),
        end_run=lambda status: seen.append(("end", status)),
    )
    run = SimpleNamespace(
        id="new",
        log=lambda metrics, step: seen.append(("log", metrics, step)),
        finish=lambda exit_code: seen.append(("end", exit_code)),
    )

    def init(**given: Any) -> SimpleNamespace:
        seen.append(("start", given["id"], given["name"], given["config"], given["resume"]))
        run.id = given["id"] or "new"
        return run

    wandb = SimpleNamespace(init=init, Settings=lambda console: None)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return seen


def _lines(folder: Path, *records: dict[str, Any], **parameters: Any) -> list[str]:
    start = {"name": "lm", "parameters": parameters, "id_file": str(folder / "ids" / "tracker.id")}
    return [json.dumps(record) + "\n" for record in (start, *records)]


POINT = {"metrics": {"train/loss": 2.0}, "step": 7}


def test_mlflow_is_told_and_gone_on_with(tmp_path: Path, calls: list[tuple[Any, ...]]) -> None:
    many = {f"p{index}": index for index in range(230)}
    follow(MLflowRun, _lines(tmp_path, POINT, {"status": "FINISHED"}, **many))
    begun, params, logged = calls[0], [call[1] for call in calls if call[0] == "params"], calls[-2]
    assert begun == ("start", None, "lm")
    assert [len(rows) for rows in params] == [100, 100, 30]
    assert {name: value for rows in params for name, value in rows.items()} == many
    assert logged == ("log", {"train/loss": 2.0}, 7)
    assert calls[-1] == ("end", "FINISHED")
    calls.clear()
    follow(MLflowRun, _lines(tmp_path, POINT, **many))
    # The same run; and input that just ends is a training that was killed.
    assert calls == [("start", "new", None), ("log", {"train/loss": 2.0}, 7), ("end", "KILLED")]


def test_wandb_is_told_and_gone_on_with(tmp_path: Path, calls: list[tuple[Any, ...]]) -> None:
    follow(WandBRun, _lines(tmp_path, POINT, {"status": "FINISHED"}, lr=0.5))
    assert calls == [
        ("start", None, "lm", {"lr": 0.5}, "allow"),
        ("log", {"train/loss": 2.0}, 7),
        ("end", 0),
    ]
    calls.clear()
    follow(WandBRun, _lines(tmp_path, lr=0.5))
    assert calls == [("start", "new", "lm", {"lr": 0.5}, "allow"), ("end", 1)]
