"""A whole small run, killed -9 with its process tree at ten random moments.

    pytest -m slow -s tests/bench/bench_run_kill.py

The result must be the bytes of an undisturbed run, and no finished stage may run again.
"""

from __future__ import annotations

import importlib.util
import random
import time
from pathlib import Path

import pytest

from ulmfit_dist.events import read_events

_SOURCE = Path(__file__).parents[1] / "multiprocess" / "test_run.py"
_SPEC = importlib.util.spec_from_file_location("whole_run", _SOURCE)
assert _SPEC is not None
assert _SPEC.loader is not None
whole_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(whole_run)

recipe = whole_run.recipe
KILLS = 10


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(3000)
def test_killed_ten_times_anywhere(recipe: Path, tmp_path: Path) -> None:
    _, seconds = whole_run.finish(recipe, tmp_path / "whole")
    generator, killed = random.Random(7), tmp_path / "killed"
    for kill in range(KILLS):
        # From the first import to somewhere in the middle, so that each attempt gets a little further.
        moment = generator.uniform(1, 0.6 * seconds)
        with whole_run.start(recipe, killed) as process:
            time.sleep(moment)
            alive = process.poll() is None
            whole_run.kill_tree(process)
        print(f"kill {kill + 1} after {moment:.1f} s" + ("" if alive else " (had ended)"))
    result, _ = whole_run.finish(recipe, killed)
    ends = [event["name"] for event in read_events(killed / "events.jsonl") if event["kind"] == "stage-finished"]
    assert len(ends) == len(set(ends)), "a finished stage ran again"
    assert int(result["ran"]) <= int(result["stages"])
    assert whole_run.output_bytes(killed) == whole_run.output_bytes(tmp_path / "whole")
