"""TensorBoard files hold the numbers that were reported, and never fail a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from ulmfit_dist.events import EventLog, read_events
from ulmfit_dist.training.board import BoardReporter


def _scalars(folder: Path) -> list[tuple[int, str, float]]:
    (path,) = folder.glob("events.out.*")
    events = LegacyEventFileLoader(str(path)).Load()
    return [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]


def test_points_and_validations_become_scalars_and_everything_is_passed_on(tmp_path: Path) -> None:
    board = BoardReporter(EventLog(tmp_path / "events.jsonl"), tmp_path / "board")
    board.event("point", step=5, loss=2.5, lr=0.5)
    board.event("validation", step=9, perplexity=4.0)
    board.event("resumed", step=1)
    board.progress(1, 1, loss=2.0)
    board.close()
    expected = [(5, "train/loss", 2.5), (5, "train/lr", 0.5), (9, "validation/perplexity", 4.0)]
    assert _scalars(tmp_path / "board") == expected
    assert [event["kind"] for event in read_events(tmp_path / "events.jsonl")] == [
        "point",
        "validation",
        "resumed",
        "progress",
    ]


def test_a_folder_that_cannot_be_made_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    board = BoardReporter(EventLog(tmp_path / "events.jsonl"), tmp_path / "file" / "board")
    fields: dict[str, Any] = {"step": 1, "loss": 1.0}
    board.event("point", **fields)
    board.close()
    assert read_events(tmp_path / "events.jsonl")[0]["loss"] == pytest.approx(1.0)
