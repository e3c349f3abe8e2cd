"""Kill -9 while two ranks train under Ray Train: of the coordinator, of a rank, of a node's raylet, of the head.

    pytest -m slow -s tests/bench/bench_trainer_kill.py

A whole small recipe whose pretraining takes some minutes. After a kill of the coordinator or of the head the same
command is given again; after the others the run goes on by itself. What is left must be an undisturbed run's, bit for
bit. About 30 minutes on two cores.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from bench_submit import check, recipe, submit, whole_run
from two_nodes import two_nodes

from ulmfit_dist.events import read_events

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(3000)]

PORT = 43000
KILLS = 5
RESTART_S = 40.0
STAGE = "stages/pretrain-word-*"
CHECKPOINT = f"{STAGE}/checkpoints/*/manifest.json"
LONGER = """
base = "{base}"
[pretrain.training]
epochs = 12
checkpoint_steps = 100
"""
_generator = random.Random(5)
__all__ = ["recipe"]  # the fixture


@pytest.fixture(scope="module")
def long_recipe(recipe: Path) -> Path:
    path = recipe.with_name("longer.toml")
    path.write_text(LONGER.format(base=recipe.name))
    return path


@pytest.fixture(scope="module")
def whole(long_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    whole_run.finish(long_recipe, run_dir)
    (stage,) = run_dir.glob(f"{STAGE}/stage.json")
    print(f"\nundisturbed: {whole_run.json.loads(stage.read_text())['seconds']:.0f} s of pretraining")
    return run_dir


def test_the_coordinator_killed_while_it_trains(long_recipe: Path, whole: Path, tmp_path: Path) -> None:
    seconds: list[float] = []
    for _ in range(KILLS):
        started = time.time()
        with whole_run.start(long_recipe, tmp_path) as process:
            if seconds or _checkpoints(tmp_path):
                seconds.append(_resumed(tmp_path, started, process) - started)
            _train_on(tmp_path, process)
            process.kill()  # it alone: its Ray ends by itself
    started = time.time()
    whole_run.finish(long_recipe, tmp_path)
    seconds.append(_first(tmp_path, started) - started)
    check(tmp_path, whole)
    assert len(seconds) == KILLS
    _say("coordinator killed, from the same command to the resumed training", seconds)
    assert max(seconds) <= RESTART_S


def test_ranks_killed_while_they_train(long_recipe: Path, whole: Path, tmp_path: Path) -> None:
    with whole_run.start(long_recipe, tmp_path) as process:
        seconds = [_disturbed(tmp_path, process, lambda: _rank_below(process.pid).kill()) for _ in range(KILLS - 2)]
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert whole_run.json.loads(out)["ran"]
    check(tmp_path, whole)
    _say("rank killed, to the resumed training", seconds)
    assert max(seconds) <= RESTART_S


def test_a_nodes_raylet_killed_while_it_trains(long_recipe: Path, whole: Path, tmp_path: Path) -> None:
    """Each node has one CPU, so each has a rank, and the run needs the second node again.

    Not as a job: its working directory is a node's own, and the two nodes of one machine share theirs, which a node
    that starts empties.
    """
    run_dir = tmp_path / "run"
    with two_nodes(tmp_path, PORT) as cluster:
        command = ["ulmfit", "run", str(long_recipe), "--address", cluster.address, "--run-dir", str(run_dir)]
        process = subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        def lose_and_bring_back() -> None:
            node = psutil.Process(cluster.nodes["worker"].pid)
            assert _rank_below(node.pid).is_running()
            (raylet,) = (child for child in node.children(recursive=True) if child.name() == "raylet")
            raylet.kill()
            cluster.nodes["worker"].wait(60)  # as a site's supervisor would: what is left of the node is ended
            cluster.kill("worker")
            cluster.start("worker")

        seconds = [_disturbed(run_dir, process, lose_and_bring_back) for _ in range(KILLS - 2)]
        out = process.communicate(timeout=600)[0]
        assert process.returncode == 0, out
    check(run_dir, whole)
    _say("raylet killed and its node started again, to the resumed training", seconds)


def test_the_head_killed_while_it_trains(long_recipe: Path, whole: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with two_nodes(tmp_path, PORT) as cluster:
        process = submit(cluster, long_recipe, run_dir)
        _train_on(run_dir, process)
        cluster.kill("head")
    with two_nodes(tmp_path, PORT) as cluster:
        assert process.communicate(timeout=120)[0]
        started = time.time()
        process = submit(cluster, long_recipe, run_dir)
        resumed = _resumed(run_dir, started, process)
        out = process.communicate(timeout=600)[0]
        assert process.returncode == 0, out
    check(run_dir, whole)
    _say("head killed, from submission to a new cluster to the resumed training", [resumed - started])


def _disturbed(run_dir: Path, process: Any, disturb: Callable[[], object]) -> float:
    """Disturb the training once it got further; return the seconds until it is resumed."""
    _train_on(run_dir, process)
    since = time.time()
    disturb()
    return _resumed(run_dir, since, process) - since


def _train_on(run_dir: Path, process: Any) -> None:
    """Wait for a new checkpoint and for some seconds more."""
    known = _checkpoints(run_dir)
    _wait(lambda: _checkpoints(run_dir) - known, process)
    time.sleep(_generator.uniform(0, 3))
    assert not list(run_dir.glob(f"{STAGE}/stage.json")), "the training had ended: give it more epochs"


def _checkpoints(run_dir: Path) -> set[Path]:
    return set(run_dir.glob(CHECKPOINT))


def _resumed(run_dir: Path, since: float, process: Any) -> float:
    return float(_wait(lambda: _first(run_dir, since), process))


def _first(run_dir: Path, since: float) -> float:
    """Return the moment of the first `resumed` after another; 0.0 before it."""
    events = [event for path in run_dir.glob(f"{STAGE}/events.jsonl") for event in read_events(path)]
    return min((e["time"] for e in events if e["kind"] == "resumed" and e["time"] >= since), default=0.0)


def _wait(condition: Callable[[], Any], process: Any) -> Any:
    deadline = time.monotonic() + 300
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def _rank_below(pid: int) -> psutil.Process:
    """Return one of the training's ranks among the processes that one has started."""
    ranks = [child for child in psutil.Process(pid).children(recursive=True) if child.name() == "ray::RayTrainWorker"]
    return _generator.choice(ranks)


def _say(what: str, seconds: list[float]) -> None:
    told = ", ".join(f"{one:.1f}" for one in sorted(seconds))
    print(f"\n{what}: {told} s; every output an undisturbed run's; load average {os.getloadavg()[0]:.1f}")
