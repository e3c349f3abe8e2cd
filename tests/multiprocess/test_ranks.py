"""Real torchrun, real gloo ranks: a silent rank is found, a signal checkpoints, the same command goes on bit-equal."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import ModuleType

import psutil
import pytest

pytestmark = pytest.mark.timeout(400)
TIMEOUT_S = 5


def test_a_silent_rank_and_a_signal_change_nothing_in_the_weights(tmp_path: Path, launching: ModuleType) -> None:
    launching.write_inputs(tmp_path, 80)
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    assert launching.ended(launching.torchrun(launching.pretrain_command(tmp_path, whole))) == 0
    command = launching.pretrain_command(tmp_path, disturbed, {"resources.pretrain_timeout_seconds": TIMEOUT_S})
    process = launching.torchrun(command)
    try:
        launching.wait_for(lambda: launching.newest_point(disturbed) > 20)
        stopped = launching.rank_process(process.pid, 0)
        survivor = launching.rank_process(process.pid, 1)
        stopped.send_signal(signal.SIGSTOP)
        since = time.monotonic()
        # The rank that waits gives up; torchrun would end the stopped one for good after 30 seconds.
        psutil.wait_procs([survivor], timeout=60)
        found = time.monotonic() - since
        stopped.kill()
        launching.wait_for(lambda: launching.events(disturbed, "resumed"))
        assert TIMEOUT_S - 1 < found < TIMEOUT_S + 5
        resumed = launching.events(disturbed, "resumed")[0]["step"]
        launching.wait_for(lambda: launching.newest_point(disturbed) > 60)
        process.send_signal(signal.SIGTERM)
        since = time.monotonic()
        assert launching.ended(process) != 0
        assert time.monotonic() - since < 10
    finally:
        launching.kill_tree(process.pid)
    assert resumed >= 15
    # The checkpoint is that of the very step at which the signal was met.
    newest = max(path.name for path in (disturbed / "checkpoints").iterdir())
    assert newest == f"step-{launching.newest_point(disturbed):09d}"
    assert not (disturbed / "stage.json").exists()
    assert launching.ended(launching.torchrun(launching.pretrain_command(tmp_path, disturbed))) == 0
    assert launching.weights(disturbed) == launching.weights(whole)
    assert launching.curve(disturbed) == launching.curve(whole)
    # A finished stage is left as it is, by all ranks.
    assert launching.ended(launching.torchrun(launching.pretrain_command(tmp_path, whole))) == 0
