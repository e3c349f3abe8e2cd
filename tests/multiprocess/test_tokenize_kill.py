"""`ulmfit tokenize` as a user starts it, with actors and the driver killed -9: the bytes of an undisturbed run.

The corpus is the quickstart's reviews, a few a work item, so that two hundred items share a few seconds. Only the
command line and the files that it promises are used, so the test holds however the stage is built.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from ulmfit_dist.cli import app
from ulmfit_dist.cluster.session import LOCAL
from ulmfit_dist.config import data_folder
from ulmfit_dist.events import read_events
from ulmfit_dist.files import digest_file

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SOURCE = data_folder("launch") / "data" / "quickstart" / "movie_reviews.csv.gz"
ACTOR = "ray::_Worker"
WORKERS = 2
KILLS = 3


class Corpus(NamedTuple):
    """Documents, a tokenizer learnt from them, and their stream, made undisturbed, in `folder`."""

    folder: Path

    @property
    def stream(self) -> Path:
        """The undisturbed stream."""
        return self.folder / "stream"

    def make(self, run: Callable[[list[str]], object]) -> None:
        """Make them with `run`, which gets a command's arguments."""
        documents, words = self.folder / "documents", self.folder / "words"
        sizes = ["--set", f'corpus.sources=["{SOURCE}"]', "--set", "corpus.item_characters=8000"]
        run(["ingest", str(SOURCE), *sizes, "--out", str(documents)])
        recipe = ["--recipe", "en/word_60k", "--set", "max_vocab=4000"]
        run(["train-tokenizer", str(documents), *recipe, "--out", str(words)])
        run(self.command(self.stream))

    def command(self, out: Path) -> list[str]:
        """Return the arguments of the tokenize command."""
        inputs = [str(self.folder / "documents"), "--tokenizer", str(self.folder / "words")]
        return ["tokenize", *inputs, "--workers", str(WORKERS), "--out", str(out)]


def start(arguments: list[str], address: str = LOCAL) -> subprocess.Popen[str]:
    """Start a command, on a Ray of its own or on the one at `address`."""
    command = [sys.executable, "-m", "ulmfit_dist", *arguments]
    environment = {**os.environ, "RAY_ADDRESS": address}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=environment)


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a command that must succeed."""
    _, err = process.communicate(timeout=250)
    assert process.returncode == 0, err


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, local_ray: object) -> Corpus:
    made = Corpus(tmp_path_factory.mktemp("corpus"))
    with pytest.MonkeyPatch.context() as patch:
        # In this process, on the Ray that is there: a command of its own would start a Ray each time.
        patch.setattr("ulmfit_dist.cluster.byhand.ray_session", lambda _: contextlib.nullcontext())
        made.make(lambda arguments: app(arguments, standalone_mode=False))
    return made


def stream_bytes(out: Path) -> dict[str, str]:
    """The digest of every file of the streams below `out`, and what the stage says of them."""
    files = [path for kind in ("*.h5", "manifest.json", "*.parquet") for path in out.rglob(kind)]
    summary = json.loads((out / "stage.json").read_text())["summary"]
    return {str(path.relative_to(out)): digest_file(path) for path in files} | {"summary": json.dumps(summary)}


def actors(root: int) -> list[psutil.Process]:
    """The actors of the pool below a process, the one that started Ray; none once that has ended."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(root).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline()[:1] and process.cmdline()[0].startswith(ACTOR):
                    found.append(process)
    return found


def kill_actors(driver: subprocess.Popen[str], root: int, pauses: Iterator[float], kills: int) -> int:
    """SIGKILL one of the actors after each pause, `kills` times or until the command ends; return how often."""
    killed: set[int] = set()
    while len(killed) < kills and driver.poll() is None:
        time.sleep(next(pauses))
        if victims := [process for process in actors(root) if process.pid not in killed]:
            victim = random.Random(len(killed)).choice(victims)
            victim.send_signal(signal.SIGKILL)
            killed.add(victim.pid)
    return len(killed)


def kill_driver(driver: subprocess.Popen[str], root: int) -> None:
    """SIGKILL the driver alone; its actors must end by themselves."""
    below = actors(root)
    driver.kill()
    driver.communicate()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive, "actors outlive their driver"


def shards(out: Path) -> dict[str, tuple[int, int]]:
    """Which file each shard is: a shard that is written again is another one."""
    found = {}
    for path in sorted(out.rglob("shard-*.h5")):
        state = path.stat()
        found[str(path.relative_to(out))] = state.st_ino, state.st_mtime_ns
    return found


def wait_for_shards(out: Path, driver: subprocess.Popen[str], count: int) -> None:
    """Wait until so many shards are there."""
    deadline = time.monotonic() + 120
    while len(shards(out)) < count:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline, f"only {len(shards(out))} shards"
        time.sleep(0.02)


def check(out: Path, corpus: Corpus, redone: int) -> None:
    """The stream is the undisturbed one, nothing temporary is left, and so few items were tried again."""
    assert stream_bytes(out) == stream_bytes(corpus.stream)
    assert not list(out.rglob("*.tmp-*"))
    kinds = [event["kind"] for event in read_events(out / "events.jsonl")]
    assert "item-quarantined" not in kinds
    assert "document-quarantined" not in kinds
    assert kinds.count("item-retried") <= redone


def _random_pauses() -> Iterator[float]:
    generator = random.Random(3)
    while True:
        yield generator.uniform(0, 1)


def test_killed_actors_and_a_killed_driver_leave_the_same_bytes(corpus: Corpus, tmp_path: Path) -> None:
    import ray  # after our package, which sets what Ray reads when it is first imported

    out, root = tmp_path / "stream", os.getpid()
    address = ray.get_runtime_context().gcs_address
    with start(corpus.command(out), address) as driver:
        wait_for_shards(out, driver, 20)
        kill_driver(driver, root)
    before = shards(out)
    assert not (out / "stage.json").exists()

    with start(corpus.command(out), address) as driver:
        killed = kill_actors(driver, root, _random_pauses(), KILLS)
        finish(driver)
    assert killed == KILLS, "the command ended before its actors were killed"
    check(out, corpus, redone=KILLS)
    after = shards(out)
    assert len([name for name in before if after[name] != before[name]]) <= WORKERS, "finished items were done again"
    assert len(after) > 2 * len(before)
