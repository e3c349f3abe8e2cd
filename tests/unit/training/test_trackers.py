"""Trackers that work, raise, hang, crash or are not there: the reports go on, and what failed is told once."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.config import Settings
from ulmfit_dist.errors import StoppedError
from ulmfit_dist.events import EventLog, read_events
from ulmfit_dist.stage import StageCall
from ulmfit_dist.training.trackers import TrackedRun, TrackerReporter, stage_reporters

# Writes what it is told to a file beside itself.
WORKS = """
import json, pathlib, types
def _tell(*call):
    with (pathlib.Path(__file__).parent / "told").open("a") as file:
        file.write(json.dumps(call) + "\\n")
def start_run(run_id, run_name):
    _tell("start", run_id, run_name)
    return types.SimpleNamespace(info=types.SimpleNamespace(run_id="one"))
def log_params(rows):
    _tell("params", rows)
def log_metrics(metrics, step):
    _tell("log", metrics, step)
def end_run(status):
    _tell("end", status)
"""
HANGS = "import time; time.sleep(1000)"
FAULTS = {
    "import": ("raise RuntimeError('no import')", "no import"),
    "start": (WORKS + "def start_run(**_): raise RuntimeError('no server')", "no server"),
    "log": (WORKS + "def log_metrics(*_, **__): raise RuntimeError('no quota')", "no quota"),
    "end": (WORKS + "def end_run(_): raise RuntimeError('no end')", "no end"),
    "crash": (WORKS + "def log_params(_):\n    import os\n    os.abort()", "ended with code -6"),
    "exit": (WORKS + "def log_params(_): raise SystemExit(3)", "ended with code 3"),
}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the trackers' processes look for modules first."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def _reporter(tmp_path: Path, *names: Any, settings: dict[str, Any] | None = None) -> TrackerReporter:
    run = TrackedRun("lm", settings or {}, tmp_path / "trackers")
    return TrackerReporter(EventLog(tmp_path / "events.jsonl"), run, names)


def _failures(tmp_path: Path) -> list[dict[str, Any]]:
    return [event for event in read_events(tmp_path / "events.jsonl") if event["kind"] == "tracker_failed"]


def test_it_gets_settings_points_and_validations_and_everything_is_passed_on(tmp_path: Path, stand_in: Path) -> None:
    (stand_in / "mlflow.py").write_text(WORKS)
    reporter = _reporter(tmp_path, "mlflow", settings={"training": {"lr": 0.5, "layers": [1, 2]}, "kind": "x"})
    reporter.event("resumed", step=1)
    reporter.event("point", step=2, loss=3.0)
    reporter.progress(1, 2)
    reporter.event("validation", step=4, perplexity=9.0)
    reporter.close("FINISHED")
    assert [json.loads(line) for line in (stand_in / "told").read_text().splitlines()] == [
        ["start", None, "lm"],
        ["params", {"training.lr": 0.5, "training.layers": "[1, 2]", "kind": "x"}],
        ["log", {"train/loss": 3.0}, 2],
        ["log", {"validation/perplexity": 9.0}, 4],
        ["end", "FINISHED"],
    ]
    assert [event["kind"] for event in read_events(tmp_path / "events.jsonl")] == [
        "resumed",
        "point",
        "progress",
        "validation",
    ]
    assert (tmp_path / "trackers" / "mlflow.id").read_text() == "one"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_once_and_the_other_tracker_goes_on(tmp_path: Path, stand_in: Path, fault: str) -> None:
    code, reason = FAULTS[fault]
    (stand_in / "mlflow.py").write_text(code)
    (stand_in / "wandb.py").write_text(
        "import pathlib, types\n"
        "told = pathlib.Path(__file__).parent / 'wandb_told'\n"
        "Settings = lambda console: None\n"
        "def init(**_):\n"
        "    return types.SimpleNamespace(id='w', log=lambda metrics, step: told.open('a').write(f'{step} '),\n"
        "        finish=lambda exit_code: told.open('a').write('end'))\n"
    )
    reporter = _reporter(tmp_path, "mlflow", "wandb", settings={"lr": 1.0})
    for step in range(5):
        reporter.event("point", step=step, loss=1.0)
        time.sleep(0.1)
    reporter.close("FINISHED")
    (failed,) = _failures(tmp_path)
    assert failed["tracker"] == "mlflow"
    assert reason in failed["reason"]
    assert (stand_in / "wandb_told").read_text() == "0 1 2 3 4 end"
    assert sum(event["kind"] == "point" for event in read_events(tmp_path / "events.jsonl")) == 5


def test_one_that_is_not_installed_is_said(tmp_path: Path, stand_in: Path) -> None:
    (stand_in / "mlflow.py").write_text("import no_such_module_anywhere")
    reporter = _reporter(tmp_path, "mlflow")
    reporter.close("FINISHED")
    (failed,) = _failures(tmp_path)
    assert "No module named 'no_such_module_anywhere'" in failed["reason"]


def test_one_that_hangs_is_waited_for_at_the_end_alone_and_not_for_long(tmp_path: Path, stand_in: Path) -> None:
    (stand_in / "mlflow.py").write_text(HANGS)
    reporter = _reporter(tmp_path, "mlflow")
    (tracker,) = reporter._trackers
    begun = time.monotonic()
    for step in range(2000):  # 200 kB: more than a pipe holds
        reporter.event("point", step=step, **{f"measure{index}": 1.0 for index in range(4)})
    assert time.monotonic() - begun < 5
    assert not _failures(tmp_path)
    begun = time.monotonic()
    reporter.close("FINISHED", patience_s=0.5)
    assert 0.4 < time.monotonic() - begun < 5
    (failed,) = _failures(tmp_path)
    assert "did not finish in 0.5 seconds" in failed["reason"]
    assert tracker._process.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(tracker._process.pid, 0)


def test_an_interpreter_that_does_not_start_is_told(
    tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "nowhere"))
    reporter = _reporter(tmp_path, "mlflow")
    reporter.event("point", step=1, loss=1.0)
    reporter.close("FINISHED")
    (failed,) = _failures(tmp_path)
    assert "nowhere" in failed["reason"]


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (StoppedError("stopped"), "KILLED"), (ValueError("x"), "FAILED")]
)
def test_a_stage_tells_its_board_and_its_trackers_how_it_ended(
    tmp_path: Path, stand_in: Path, error: Exception | None, status: str
) -> None:
    (stand_in / "mlflow.py").write_text(WORKS)
    out = tmp_path / "out"
    call = StageCall(Settings(), {}, out, EventLog(out / "events.jsonl"))

    def train() -> None:
        with stage_reporters(call, ["mlflow"]) as reporter:
            reporter.event("point", step=1, loss=1.0)
            deadline = time.monotonic() + 30
            while not (stand_in / "told").exists() and time.monotonic() < deadline:
                time.sleep(0.05)  # a stop waits for two seconds only: let the process start
            if error is not None:
                raise error

    if error is None:
        train()
    else:
        with pytest.raises(type(error)):
            train()
    assert json.loads((stand_in / "told").read_text().splitlines()[-1]) == ["end", status]
    assert list((out / "tensorboard").iterdir())
