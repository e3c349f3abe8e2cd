"""A run's status from its files: states, places, speed and time left, whoever runs it and wherever."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from run_files import make_run, own, progress, tell

from ulmfit_dist.cluster.status import RunReader, RunStatus, StageStatus, recent
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import write_json


def _stage(status: RunStatus, name: str) -> StageStatus:
    return next(stage for stage in status.stages if stage.name == name)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_run(tmp_path)
    tell(tmp_path, 1.0, "stage-skipped", name="ingest", fingerprint="ingest-1")
    tell(tmp_path, 2.0, "stage-started", name="pretrain", fingerprint="pretrain-1", attempt=1)
    tell(tmp_path, 3.0, "stage-placed", stage="pretrain", host="node7", pid=5)
    own(tmp_path)
    return tmp_path


def test_a_running_stage_says_where_how_far_how_fast_and_how_long_yet(run: Path) -> None:
    reader = RunReader(run)
    progress(run, "pretrain", 4.0, done=10, total=100, loss=6.0, tokens_per_s=900.0)
    progress(run, "pretrain", 14.0, done=30, total=100, loss=5.5, tokens_per_s=1000.0)
    progress(run, "pretrain", 14.5, kind="gpu-use", host="node7", gpu=0, busy=0.1)
    progress(run, "pretrain", 14.5, kind="gpu-use", host="node7", gpu=0, busy=0.9)
    progress(run, "pretrain", 14.5, kind="gpu-use", host="node7", gpu=1, busy=0.7)
    status = reader.read()
    stage = _stage(status, "pretrain")
    assert (status.state, stage.state, stage.host, stage.attempts) == ("running", "running", "node7", 1)
    assert (stage.share, stage.loss, stage.tokens_per_s) == (0.3, 5.5, 1000.0)
    assert stage.gpu == pytest.approx(0.8)
    assert stage.left == pytest.approx(35.0), "20 parts of 100 took 10 s, 70 are left"
    assert stage.seconds == pytest.approx(12.5)
    assert [s.state for s in status.stages] == ["kept", "running", "waiting", "waiting", "waiting"]
    progress(run, "pretrain", 24.0, done=80, total=100, loss=5.0, tokens_per_s=1000.0)
    assert _stage(reader.read(), "pretrain").share == 0.8


def test_each_phase_of_a_stage_has_its_own_time_left(run: Path) -> None:
    progress(run, "pretrain", 4.0, done=0, total=10, what="count")
    progress(run, "pretrain", 5.0, done=10, total=10, what="count")
    progress(run, "pretrain", 6.0, done=0, total=10, what="merge")
    progress(run, "pretrain", 8.0, done=1, total=10, what="merge")
    stage = _stage(RunReader(run).read(), "pretrain")
    assert (stage.what, stage.share, stage.left) == ("merge", 0.1, 18.0)


def test_what_an_earlier_attempt_said_does_not_count(run: Path) -> None:
    progress(run, "pretrain", 1.5, done=90, total=100, loss=1.0)
    assert _stage(RunReader(run).read(), "pretrain").share is None


def test_retries_failures_and_what_they_block(run: Path) -> None:
    reader = RunReader(run)
    tell(run, 4.0, "stage-retried", name="pretrain", attempt=1, reason="died", wait=2.0)
    assert _stage(reader.read(), "pretrain").state == "trying again"
    tell(run, 6.0, "stage-started", name="pretrain", fingerprint="pretrain-1", attempt=2)
    tell(run, 7.0, "stage-failed", name="pretrain", reason="died", detail="", blocks=["classify", "report"])
    tell(run, 8.0, "stage-finished", name="other", fingerprint="other-1", seconds=3.5)
    status = reader.read()
    assert [s.state for s in status.stages] == ["kept", "failed", "blocked", "blocked", "done"]
    assert (_stage(status, "pretrain").attempts, _stage(status, "pretrain").reason) == (2, "died")
    assert _stage(status, "other").seconds == 3.5


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (("run-finished", {"failed": [], "blocked": []}), "done"),
        (("run-finished", {"failed": ["pretrain"], "blocked": []}), "failed"),
        (("run-stopped", {"reason": "cancelled by request", "running": ["pretrain"]}), "stopped"),
        (None, "dead"),
    ],
)
def test_a_run_without_a_live_owner_ended_as_its_last_event_says(
    run: Path, last: tuple[str, dict[str, object]] | None, state: str
) -> None:
    (run / "owner.json").unlink()
    if last is not None:
        tell(run, 9.0, last[0], **last[1])
    status = RunReader(run).read()
    assert status.state == state
    assert _stage(status, "pretrain").state == "waiting", "nothing runs without its coordinator"


def test_an_owner_on_another_machine_lives_while_it_beats(run: Path) -> None:
    own(run, host="far", pid=77, machine="another boot")
    status = RunReader(run).read()
    assert (status.state, status.host, status.pid) == ("running", "far", 77)
    os.utime(run / "owner.json", (time.time() - 100, time.time() - 100))
    assert RunReader(run).read().state == "dead"


def test_a_result_that_is_there_counts_though_its_coordinator_died_before_it_said_so(run: Path) -> None:
    write_json(run / "stages" / "pretrain-1" / "stage.json", {"fingerprint": "pretrain-1"})
    write_json(run / "stages" / "other-1" / "stage.json", {"fingerprint": "of other settings"})
    status = RunReader(run).read()
    assert (_stage(status, "pretrain").state, _stage(status, "other").state) == ("done", "waiting")


def test_a_restarted_run_begins_anew_and_keeps_the_count_of_tries(run: Path) -> None:
    reader = RunReader(run)
    tell(run, 4.0, "stage-failed", name="pretrain", reason="died", detail="", blocks=["classify", "report"])
    assert reader.read().state == "running"
    tell(run, 20.0, "run-started", stages=5)
    assert {s.state for s in reader.read().stages} == {"waiting"}
    tell(run, 21.0, "stage-started", name="pretrain", fingerprint="pretrain-1", attempt=1)
    status = reader.read()
    assert (_stage(status, "pretrain").attempts, status.seconds) == (2, 1.0)


def test_the_curve_is_thinned_and_goes_back_with_the_training(run: Path) -> None:
    for step in range(5000):
        tell(run, 5.0, "point", stage="pretrain", step=step, tokens=100 * step, loss=7.0 - step / 1000)
    reader = RunReader(run)
    curve = _stage(reader.read(), "pretrain").curve
    assert 100 < len(curve) <= 400
    assert (curve[0], curve[-1]) == ((0, 7.0), (499_900, 7.0 - 4.999))
    tell(run, 6.0, "point", stage="pretrain", step=100, tokens=10_000, loss=6.5)
    curve = _stage(reader.read(), "pretrain").curve
    assert curve[-1] == (10_000, 6.5)
    assert curve == sorted(curve)


def test_a_long_event_file_of_a_stage_is_read_from_near_its_end(run: Path) -> None:
    for step in range(20_000):
        progress(run, "pretrain", 4.0 + step / 1000, done=step, total=20_000, loss=5.0)
    stage = _stage(RunReader(run).read(), "pretrain")
    assert stage.share == 19_999 / 20_000
    assert stage.left == pytest.approx(0.001, rel=0.1)


def test_a_folder_that_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a run directory; found: no events.jsonl"):
        RunReader(tmp_path)


def test_where_rows_are_few_what_runs_and_failed_is_shown_in_the_plans_order() -> None:
    states = ["done", "waiting", "running", "kept", "failed", "waiting", "running"]
    stages = [StageStatus(str(i), "", "", Path(), state=state) for i, state in enumerate(states)]
    assert [stage.name for stage in recent(stages, 4)] == ["1", "2", "4", "6"]
    assert recent(stages, 7) == stages
