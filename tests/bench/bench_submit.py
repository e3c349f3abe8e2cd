"""A whole small run as a job on a fresh cluster of two nodes: the embedded run's result, also when nodes are killed.

pytest -m slow -s tests/bench/bench_submit.py
"""

from __future__ import annotations

import importlib.util
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from two_nodes import Cluster, two_nodes

from ulmfit_dist.events import read_events

_SOURCE = Path(__file__).parents[1] / "multiprocess" / "test_run.py"
_SPEC = importlib.util.spec_from_file_location("whole_run", _SOURCE)
assert _SPEC is not None
assert _SPEC.loader is not None
whole_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(whole_run)

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(3000)]
PORT = 39000
recipe = whole_run.recipe


@pytest.fixture(scope="module")
def embedded(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run in a Ray of its own."""
    run_dir = tmp_path_factory.mktemp("embedded") / "run"
    whole_run.finish(recipe, run_dir)
    return run_dir


def submit(cluster: Cluster, recipe: Path, run_dir: Path) -> subprocess.Popen[str]:
    command = ["ulmfit", "submit", str(recipe), "--jobs-url", cluster.url, "--run-dir", str(run_dir)]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=cluster.environment, cwd=recipe.parent, **piped)


def _when(run_dir: Path, pattern: str, process: subprocess.Popen[str], act: Callable[[], None]) -> None:
    while not list(run_dir.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    act()


def check(run_dir: Path, embedded: Path) -> None:
    ends = [event["name"] for event in read_events(run_dir / "events.jsonl") if event["kind"] == "stage-finished"]
    assert len(ends) == len(set(ends)), "a finished stage ran again"
    assert whole_run.output_bytes(run_dir) == whole_run.output_bytes(embedded)


def test_a_job_gives_the_embedded_runs_result(recipe: Path, embedded: Path, tmp_path: Path) -> None:
    with two_nodes(tmp_path, PORT) as cluster:
        started = time.monotonic()
        process = submit(cluster, recipe, tmp_path / "run")
        out = process.communicate(timeout=1200)[0]
        assert process.returncode == 0, out
        print(f"\nsubmit to end: {time.monotonic() - started:.0f} s; every output equal to the embedded run's")
    check(tmp_path / "run", embedded)


def test_a_killed_worker_node_costs_no_finished_stage(recipe: Path, embedded: Path, tmp_path: Path) -> None:
    with two_nodes(tmp_path, PORT, cpus=2) as cluster:
        process = submit(cluster, recipe, tmp_path / "run")
        _when(tmp_path / "run", "stages/tokenizer-word-*/events.jsonl", process, lambda: cluster.kill("worker"))
        out = process.communicate(timeout=1200)[0]
        assert process.returncode == 0, out
    check(tmp_path / "run", embedded)


def test_a_killed_head_loses_the_job_and_a_new_cluster_continues_it(
    recipe: Path, embedded: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    with two_nodes(tmp_path, PORT) as cluster:
        process = submit(cluster, recipe, run_dir)
        _when(run_dir, "stages/pretrain-word-*/checkpoints/*/manifest.json", process, lambda: cluster.kill("head"))
    with two_nodes(tmp_path, PORT) as cluster:
        # The client finds another cluster at the same address, which does not know its job.
        out = process.communicate(timeout=120)[0]
        assert process.returncode == 5, out
        again = submit(cluster, recipe, run_dir)
        out = again.communicate(timeout=1200)[0]
        assert again.returncode == 0, out
    check(run_dir, embedded)
