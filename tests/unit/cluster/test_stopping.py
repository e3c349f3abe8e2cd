"""The stop file: seen within a second, forgotten afterwards."""

from __future__ import annotations

import time
from pathlib import Path

from ulmfit_dist.cluster.stopping import stop_file_watched
from ulmfit_dist.training.stop import STOP


def test_the_file_becomes_a_request_and_the_request_ends_with_the_block(tmp_path: Path) -> None:
    STOP.request()  # an old request must not reach the next training
    with stop_file_watched(tmp_path / "stop"):
        assert not STOP.requested
        (tmp_path / "stop").touch()
        deadline = time.monotonic() + 5
        while not STOP.requested and time.monotonic() < deadline:
            time.sleep(0.02)
        assert STOP.requested
    assert not STOP.requested
