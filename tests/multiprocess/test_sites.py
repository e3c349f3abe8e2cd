"""The launchers of cluster/ as a site uses them: real nodes, a small real run, and nothing left of them afterwards.

The nodes are loopback addresses of this machine; srun and scontrol are stand-ins (tests/data/slurm).
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ulmfit_dist.cluster.checks.ports import free_port
from ulmfit_dist.config import data_folder

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
name = "small"
units = ["word"]
directions = ["forward"]
[corpus]
sources = ["reviews.csv"]
languages = ["en"]
valid_share = 0.1
item_characters = 20_000
[tokenizers.word]
recipe = "en/word_60k"
change = { max_vocab = 500, min_freq = 2 }
[model]
embedding_size = 8
hidden_size = 12
num_layers = 2
[pretrain.training]
num_lanes = 4
bptt = 30
[resources]
tokenizing_workers = 2
pretrain_workers = 1
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    with gzip.open(data_folder("launch") / "data" / "quickstart" / "movie_reviews.csv.gz", "rt", newline="") as source:
        rows = list(csv.reader(source))[:21]
    with (tmp_path / "reviews.csv").open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    (tmp_path / "small.toml").write_text(RECIPE)
    return tmp_path / "small.toml"


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Ports of its own, the stand-ins first on the path, a fresh home; afterwards no process may be left."""
    port = free_port() % 20_000 + 20_000
    path = os.pathsep.join((str(ROOT / "tests/data/slurm"), str(Path(sys.executable).parent), os.environ["PATH"]))
    values = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "ULMFIT_", "SLURM_"))}
    values |= {"PATH": path, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "ULMFIT_TEST": str(tmp_path)}
    values |= {"ULMFIT_PORT": str(port), "ULMFIT_DASHBOARD_PORT": str(port + 1)}
    yield values
    mark = str(tmp_path)
    left = _until(lambda: not _of_test(mark), 10) or _of_test(mark)
    assert left is True, left


def _of_test(mark: str) -> list[str]:
    """Return the processes that a test has started, by the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ULMFIT_TEST") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:200])
        except psutil.Error:
            continue
    return found


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def _local(action: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "cluster/local.sh"), action, str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def _with_cluster(folder: Path, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command as the header of local.sh says."""
    script = f'eval "$({ROOT}/cluster/local.sh env {folder})" && exec "$@"'
    words = ["bash", "-c", script, "-", *command]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_two_nodes_on_one_machine(tmp_path, recipe, environment):
    folder = tmp_path / "two"
    try:
        started = _local("start", folder, environment)
        assert started.returncode == 0, started.stdout + started.stderr
        assert "2 nodes" in started.stdout
        assert (folder / "token").stat().st_mode & 0o777 == 0o600
        assert _local("start", folder, environment).returncode == 1  # it runs already
        missing = [
            "ulmfit",
            "doctor",
            str(folder),
            "--address",
            f"127.0.0.2:{environment['ULMFIT_PORT']}",
            "--nodes",
            "3",
        ]
        told = _with_cluster(folder, missing, environment)
        assert told.returncode == 1
        assert "2 nodes at 127.0.0.2" in told.stdout
        assert told.stdout.count("blocks ") == 1, told.stdout
        run = ["ulmfit", "run", str(recipe), "--run-dir", str(tmp_path / "run"), "--json"]
        ran = _with_cluster(folder, run, environment)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["ran"] == 4
    finally:
        stopped = _local("stop", folder, environment)
    assert stopped.returncode == 0, stopped.stderr
    assert not list(folder.glob("*.pid"))
    assert _local("stop", folder, environment).returncode == 0  # nothing to stop is not an error


def test_a_node_that_cannot_start_is_told_and_nothing_stays(tmp_path, environment):
    environment["ULMFIT_CPUS"] = "many"
    started = _local("start", tmp_path / "two", environment)
    assert started.returncode == 1
    assert "head.log" in started.stderr
    assert "many" in (tmp_path / "two" / "head.log").read_text()


class Slurm:
    """The batch script as Slurm starts it: a copy of it, on the first node."""

    def __init__(self, environment: dict[str, str], shared: Path, recipe: Path) -> None:
        shared.mkdir(exist_ok=True)
        job = {"SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": environment["ULMFIT_PORT"]}
        job |= {"SLURM_JOB_NODELIST": "127.0.0.2,127.0.0.3", "ULMFIT_SHARED": str(shared)}
        copy = shared.parent / "slurm_script"
        copy.write_bytes((ROOT / "cluster/slurm.sbatch").read_bytes())
        self.log = shared.parent / "job.log"
        self.shared = shared
        with self.log.open("w") as log:
            arguments = ["bash", str(copy), str(recipe), "--run-dir", str(shared / "runs/small")]
            self.batch = subprocess.Popen(arguments, env=environment | job, stdout=log, stderr=log)

    def wait(self) -> int:
        return self.batch.wait(timeout=300)


def test_a_slurm_job_at_its_time_limit_is_queued_again_and_goes_on(tmp_path, recipe, environment):
    job = Slurm(environment, tmp_path / "shared", recipe)
    runs = job.shared / "runs/small"
    assert _until(lambda: any(runs.glob("stages/*/stage.json")), 200), job.log.read_text()
    job.batch.send_signal(signal.SIGTERM)
    assert job.wait() == 143, job.log.read_text()
    assert "2 nodes at 127.0.0.2" in job.log.read_text()
    assert (job.shared / "requeued").read_text().split() == [environment["ULMFIT_PORT"]]
    assert not (runs / "owner.json").exists()
    done = len(list(runs.glob("stages/*/stage.json")))
    again = Slurm(environment, job.shared, recipe)
    assert again.wait() == 0, again.log.read_text()
    assert f"for {4 - done} of 4 stages" in again.log.read_text()
    assert len(list(runs.glob("stages/*/stage.json"))) == 4
    assert not list(job.shared.glob("token-*"))
    assert not Path(f"/tmp/ulmfit-{environment['ULMFIT_PORT']}").exists()
