"""`ulmfit tokenize` under many kills: actors, drivers, a node of two, and a full disk.

    pytest -m slow -s tests/bench/bench_tokenize_kill.py

After each the stream must be the bytes of an undisturbed run, no temporary file may be left, and no kill may cost more
than the work item that it hit.
"""

from __future__ import annotations

import importlib.util
import os
import random
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.events import read_events

_SOURCE = Path(__file__).parents[1] / "multiprocess" / "test_tokenize_kill.py"
_SPEC = importlib.util.spec_from_file_location("tokenize_kill", _SOURCE)
assert _SPEC is not None
assert _SPEC.loader is not None
kills = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(kills)

ACTOR_KILLS = 25
DRIVER_KILLS = 10
pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> kills.Corpus:
    made = kills.Corpus(tmp_path_factory.mktemp("corpus"))
    made.make(lambda arguments: kills.finish(kills.start(arguments)))
    print(f"{len(kills.shards(made.stream))} work items")
    return made


def _retried(out: Path) -> int:
    return sum(event["kind"] == "item-retried" for event in read_events(out / "events.jsonl"))


def _pauses(out: Path, driver: subprocess.Popen[str], generator: random.Random) -> Iterator[float]:
    """Random ones, each from when there is a shard more than at the last: nothing helps if no actor can start."""
    while True:
        before = len(kills.shards(out))
        while len(kills.shards(out)) == before and driver.poll() is None:
            time.sleep(0.02)
        yield generator.uniform(0.0, 2.0)


def test_actors_are_killed_twenty_five_times(corpus: kills.Corpus, tmp_path: Path) -> None:
    generator, done, attempt = random.Random(3), 0, 0
    while done < ACTOR_KILLS:
        out = tmp_path / f"stream-{attempt}"
        with kills.start(corpus.command(out)) as driver:
            pauses = _pauses(out, driver, generator)
            killed = kills.kill_actors(driver, driver.pid, pauses, ACTOR_KILLS - done)
            kills.finish(driver)
        kills.check(out, corpus, redone=killed)
        print(f"run {attempt + 1}: {killed} actors killed, {_retried(out)} items redone")
        assert killed, "the command ended before any actor was killed"
        done, attempt = done + killed, attempt + 1


def test_the_driver_is_killed_ten_times(corpus: kills.Corpus, tmp_path: Path) -> None:
    generator, out, total = random.Random(5), tmp_path / "stream", len(kills.shards(corpus.stream))
    for kill in range(DRIVER_KILLS):
        with kills.start(corpus.command(out)) as driver:
            # So many more shards, or before the first: each attempt gets a little further.
            more = generator.randrange(total // (2 * DRIVER_KILLS))
            before = kills.shards(out)
            kills.wait_for_shards(out, driver, len(before) + more)
            if not more:
                time.sleep(generator.uniform(2, 10))
            kills.kill_driver(driver, driver.pid)
        after = kills.shards(out)
        redone = [name for name in before if after[name] != before[name]]
        print(f"kill {kill + 1}: {len(before)} -> {len(after)} of {total} shards, {len(redone)} done again")
        assert len(redone) <= kills.WORKERS
    kills.finish(kills.start(corpus.command(out)))
    kills.check(out, corpus, redone=0)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without CPUs, where the driver runs; nodes are added by the test, in this (the main) thread."""
    # Ray reads the kind of authentication when it is first imported: after our package has set it.
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    made.shutdown()


def test_a_node_is_killed(corpus: kills.Corpus, cluster: Any, tmp_path: Path) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    out = tmp_path / "stream"
    with kills.start(corpus.command(out), cluster.address) as driver:
        kills.wait_for_shards(out, driver, len(kills.shards(corpus.stream)) // 4)
        killed = time.monotonic()
        cluster.remove_node(nodes[0], allow_graceful=False)
        kills.finish(driver)
    kills.check(out, corpus, redone=1)
    print(f"a node of two killed: {_retried(out)} items redone, done {time.monotonic() - killed:.1f} s after")


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    _mount(folder, "size=700k")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(corpus: kills.Corpus, small_disk: Path) -> None:
    out = small_disk / "stream"
    with kills.start(corpus.command(out)) as driver:
        _, err = driver.communicate(timeout=250)
    assert driver.returncode == 1
    assert "No space left on device" in err
    assert "free space" in err
    assert "Traceback" not in err
    assert not (out / "stage.json").exists()
    kept = kills.shards(out)
    print(f"disk full after {len(kept)} shards: {err.strip().splitlines()[-2:]}")
    _mount(small_disk, "remount,size=64m")
    kills.finish(kills.start(corpus.command(out)))
    kills.check(out, corpus, redone=0)
    after = kills.shards(out)
    assert len([name for name in kept if after[name] != kept[name]]) <= kills.WORKERS
