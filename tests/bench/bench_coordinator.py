"""The coordinator: what it adds to a stage, and kill -9 at each of its commit points and at random moments.

    pytest -m slow -s tests/bench/bench_coordinator.py [-k overhead]

Stages sleep, so that a busy machine hardly matters.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from statistics import fmean

import pytest
from coordinator_driver import DRIVER_LOG, finish, records, results, start

from ulmfit_dist.events import read_events
from ulmfit_dist.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(3600)]

RANDOM_KILLS = 20
RESTART_S = 15.0


def test_overhead_of_a_stage_is_sixty_milliseconds_at_most(tmp_path: Path) -> None:
    finish(tmp_path, "many:200:1")
    events = read_events(tmp_path / "events.jsonl")
    started, placed, finished = (
        {e.get("name", e.get("stage")): e["time"] for e in events if e["kind"] == f"stage-{kind}"}
        for kind in ("started", "placed", "finished")
    )
    took = max(finished.values()) - min(started.values())
    overhead = (2 * took - 200) / 200
    inside = [read_json(path)["seconds"] for path in tmp_path.glob("stages/*/stage.json")]
    (driver,) = read_events(tmp_path / DRIVER_LOG)
    print(f"\n200 stages of 1 s on 2 CPUs: {took:.1f} s, {overhead * 1e3:.0f} ms overhead a stage, of which")
    print(f"  {fmean(placed[name] - started[name] for name in started) * 1e3:.0f} ms from the start to its process")
    print(f"  {fmean(inside) * 1e3 - 1e3:.0f} ms of files before and after the stage's function")
    print(f"  load average {os.getloadavg()[0]:.2f}; coordinator {driver['cpu'] / 200 * 1e3:.0f} ms CPU a stage")
    assert overhead <= 0.06


def test_kill_9_at_every_commit_point(tmp_path: Path) -> None:
    finish(tmp_path / "whole")
    expected, restarts, point = results(tmp_path / "whole"), [], 0
    while True:
        point += 1
        run = tmp_path / f"point-{point}"
        if start(run, "diamond", point).wait(120) == 0:
            break
        restarts.append(_recovered(run, expected))
    print(f"\nkilled at each of {point - 1} commit points: results identical, no finished stage repeated")
    _say(restarts)
    assert point > 20


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    began = time.monotonic()
    finish(tmp_path / "whole")
    seconds, expected = time.monotonic() - began, results(tmp_path / "whole")
    generator, restarts = random.Random(3), []
    for kill in range(RANDOM_KILLS):
        run = tmp_path / f"kill-{kill}"
        process = start(run)
        time.sleep(generator.uniform(0.3, 1.0) * seconds)
        process.kill()
        process.wait()
        run.mkdir(exist_ok=True)
        restarts.append(_recovered(run, expected))
    print(f"\nkilled at {RANDOM_KILLS} random moments: results identical, no finished stage repeated")
    _say(restarts)


def _recovered(run: Path, expected: dict[str, str]) -> float:
    before = records(run)
    restart = finish(run)
    after = records(run)
    assert {name: after[name] for name in before} == before, "a finished stage ran again"
    assert results(run) == expected
    assert not list(run.rglob("*.tmp-*"))
    return restart


def _say(restarts: list[float]) -> None:
    at_work = sorted(restart for restart in restarts if restart)
    print(
        f"from the command to the first resumed stage: {at_work[0]:.1f} to {at_work[-1]:.1f} s ({len(at_work)} times)"
    )
    assert at_work[-1] <= RESTART_S
