"""The coordinator killed -9 at three commit points in a row, then left alone (all of them: bench_coordinator)."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest
from coordinator_driver import finish, records, results, start

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def test_killed_between_any_two_commits_it_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    run, known = tmp_path / "run", dict[str, bytes]()
    # Before the plan is written; with a stage done but not yet said so; in the middle of what that left.
    for point in (3, 10, 12):
        assert start(run, "diamond", point).wait(120) == -signal.SIGKILL
        found = records(run)
        assert {name: found[name] for name in known} == known, "a finished stage ran again"
        known = found
    assert 0 < len(known) < 5
    finish(run)
    found = records(run)
    assert {name: found[name] for name in known} == known, "a finished stage ran again"
    ends = {name.partition("-")[0]: (run / "stages" / name / "out.txt").read_text() for name in results(run)}
    assert ends == {"a": "a ", "b": "a b ", "c": "a c ", "d": "a b a c d ", "e": "a b a c d e "}
    assert not list(run.rglob("*.tmp-*"))


def test_sigterm_while_ray_starts_ends_with_143_and_leaves_no_process(tmp_path: Path) -> None:
    process = start(tmp_path / "run")
    while not list(Path("/tmp").glob(f"ulmfit-*-{process.pid}-*")):  # made just before Ray is started
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1.0)
    started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    assert process.wait(30) == 143
    assert started, "Ray was starting"
    assert psutil.wait_procs(started, timeout=20)[1] == []
    assert not results(tmp_path / "run")
