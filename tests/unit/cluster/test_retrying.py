"""Retries: bounded where a stage gets no further, unbounded while it does."""

from __future__ import annotations

from pathlib import Path

from ulmfit_dist.cluster.plan import PlannedStage, StageSpec
from ulmfit_dist.cluster.retrying import Retries, marks
from ulmfit_dist.config import Settings


def _stage(folder: Path) -> PlannedStage:
    return PlannedStage(StageSpec("s", "job", Settings(), {}), "s", folder, {}, (), {})


def _checkpoint(folder: Path, step: int) -> None:
    path = folder / "checkpoints" / f"step-{step:09d}" / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")


def test_a_loop_at_one_place_ends_after_three_with_growing_waits(tmp_path: Path) -> None:
    retries, stage = Retries(), _stage(tmp_path)
    retries.started(stage)
    assert [retries.wait(stage, 3) for _ in range(3)] == [1.0, 2.0, None]
    many = Retries()
    many.started(stage)
    assert [many.wait(stage, 10) for _ in range(8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_stage_that_gets_further_each_time_is_never_given_up(tmp_path: Path) -> None:
    retries, stage = Retries(), _stage(tmp_path)
    _checkpoint(tmp_path, 10)
    retries.started(stage)
    for step in range(20, 200, 10):
        _checkpoint(tmp_path, step)
        assert retries.wait(stage, 3) == 0.0
        retries.started(stage)
    assert retries.wait(stage, 3) == 2.0, "the failure after the last checkpoint was the first at this place"
    assert retries.wait(stage, 3) is None


def test_an_old_checkpoint_is_no_progress_and_a_removed_one_neither(tmp_path: Path) -> None:
    retries, stage = Retries(), _stage(tmp_path)
    _checkpoint(tmp_path, 10)
    retries.started(stage)
    (tmp_path / "checkpoints" / "step-000000010" / "manifest.json").unlink()
    assert retries.wait(stage, 3) == 1.0
    (tmp_path / "checkpoints" / "step-000000010").rmdir()
    _checkpoint(tmp_path, 10)
    assert retries.wait(stage, 3) == 2.0


def test_only_checkpoints_and_receipts_are_marks(tmp_path: Path) -> None:
    _checkpoint(tmp_path, 5)
    for name in ("scratch/receipts/train/00003.json", "scratch/counts/00000.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    for name in ("events.jsonl", "quarantine.json", "checkpoints/step-000000006.json", "00000.json.tmp-host-1"):
        (tmp_path / name).write_text("")
    assert {Path(path).relative_to(tmp_path).as_posix() for path in marks(tmp_path)} == {
        "checkpoints/step-000000005/manifest.json",
        "scratch/receipts/train/00003.json",
        "scratch/counts/00000.json",
    }
