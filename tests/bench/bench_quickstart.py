"""The quickstart as a user runs it: wall time of each stage, peak memory of all its processes, time of a second run.

pytest -m slow -s tests/bench/bench_quickstart.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ulmfit_dist.config import data_folder
from ulmfit_dist.events import read_events

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(1800)]

LIMIT_S = 600
SECOND_RUN_LIMIT_S = 20


def _run(run_dir: Path) -> tuple[dict[str, object], float, float]:
    """Run to the end; return the JSON result, wall seconds and peak proportional memory in MB."""
    recipe = data_folder("launch") / "quickstart.toml"
    command = [sys.executable, "-m", "ulmfit_dist", "run", str(recipe), "--run-dir", str(run_dir), "--json"]
    started, peak = time.monotonic(), 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None:
            peak = max(peak, _proportional_mb(process.pid))
            time.sleep(5)  # reading the maps of twenty-five processes takes a tenth of a second itself
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode == 0
    return json.loads(out), time.monotonic() - started, peak


def _proportional_mb(pid: int) -> float:
    """PSS of a process tree: shared pages are divided among those who share them."""
    total = 0.0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return total
    for process in tree:
        try:
            total += process.memory_full_info().pss / 1e6
        except psutil.Error:
            continue
    return total


def test_quickstart_in_ten_minutes(tmp_path: Path) -> None:
    first, seconds, peak = _run(tmp_path / "run")
    _, again, _ = _run(tmp_path / "run")
    print()
    for event in read_events(tmp_path / "run" / "events.jsonl"):
        if event["kind"] == "stage-finished":
            print(f"{event['name']:28} {event['seconds']:7.1f} s")
    for row in first["metrics"]["systems"]:  # type: ignore[index]
        print(f"{row['name']:28} {row['accuracy']['value']:.3f}  macro-F1 {row['macro_f1']['value']:.3f}")
    print(f"wall {seconds:.0f} s, peak memory {peak:,.0f} MB, second run {again:.1f} s")
    assert seconds < LIMIT_S
    assert again < SECOND_RUN_LIMIT_S
