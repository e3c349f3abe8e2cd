"""`ulmfit submit` to a real cluster of two nodes: true exit codes, no second job, cancel and stop, metrics."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from two_nodes import Cluster, two_nodes

from ulmfit_dist.events import read_events
from ulmfit_dist.files import read_json

_SPEC = importlib.util.spec_from_file_location("whole_run", Path(__file__).with_name("test_run.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
whole_run = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(whole_run)

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(400)]
PORT = 36000
recipe = whole_run.recipe
_clients: list[subprocess.Popen[str]] = []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_nodes(tmp_path_factory.mktemp("cluster"), PORT) as found:
        yield found


@pytest.fixture(autouse=True)
def _no_client_left() -> Iterator[None]:
    yield
    for client in _clients:
        client.kill()
        client.communicate()
    _clients.clear()


def _submit(cluster: Cluster, recipe: Path, run_dir: Path, *more: str) -> subprocess.Popen[str]:
    command = ["ulmfit", "submit", str(recipe), "--jobs-url", cluster.url, "--run-dir", str(run_dir), *more]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    _clients.append(subprocess.Popen(command, env=cluster.environment, cwd=recipe.parent, **piped))
    return _clients[-1]


def _wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def _started(run_dir: Path) -> list[str]:
    return [e["name"] for e in read_events(run_dir / "events.jsonl") if e["kind"] == "stage-started"]


def test_bad_input_found_on_the_cluster_is_the_jobs_exit_code(cluster: Cluster, recipe: Path, tmp_path: Path) -> None:
    process = _submit(cluster, recipe, tmp_path / "run", "--set", 'corpus.sources=["/nowhere/there.csv"]')
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, out + err
    assert "there is no source /nowhere/there.csv" in out, "the job's log is missing"
    assert not (tmp_path / "run" / "stages").exists()


def test_a_running_job_is_not_doubled_shows_its_metrics_and_can_be_stopped(
    cluster: Cluster, recipe: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    first = _submit(cluster, recipe, run_dir)
    _wait_for(lambda: _started(run_dir), first)

    second = _submit(cluster, recipe, run_dir)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 4, out + err
    assert "runs already" in err

    def gauges() -> list[str]:
        text = urllib.request.urlopen(f"http://127.0.0.1:{PORT + 105}/metrics", timeout=10).read().decode()
        return [line for line in text.splitlines() if line.startswith("ray_ulmfit_stages{")]

    lines = _wait_for(gauges, first)
    counts = {re.findall(r'state="(\w+)"', line)[0]: float(line.split()[-1]) for line in lines if 'run="run"' in line}
    assert sum(counts.values()) == len(read_json(run_dir / "plan.json")["stages"])
    assert counts["running"] + counts["done"] >= 1

    cancelled = subprocess.run(
        ["ulmfit", "cancel", str(run_dir)], env=cluster.environment, check=False, capture_output=True, text=True
    )
    assert cancelled.returncode == 0, cancelled.stderr
    out, err = first.communicate(timeout=60)
    assert first.returncode == 6, out + err
    assert "cancelled by request" in out

    again = _submit(cluster, recipe, run_dir)
    before = len(_started(run_dir))
    _wait_for(lambda: len(_started(run_dir)) > before, again)
    job = next(j for j in cluster.get("/api/jobs/") if j["status"] == "RUNNING")  # type: ignore[attr-defined]
    assert job["submission_id"].endswith("-2"), "the same name, the second attempt"
    stop = ["ray", "job", "stop", "--address", cluster.url, "--no-wait", job["submission_id"]]
    subprocess.run(stop, env=cluster.environment, check=True, capture_output=True)
    out, err = again.communicate(timeout=60)
    assert again.returncode == 6, out + err


def test_without_the_token_or_a_cluster_nothing_is_sent(cluster: Cluster, recipe: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("0" * 64)
    for changes, url in (({"RAY_AUTH_TOKEN_PATH": str(wrong)}, cluster.url), ({}, "http://127.0.0.1:1")):
        command = ["ulmfit", "submit", str(recipe), "--jobs-url", url, "--run-dir", str(tmp_path / "run")]
        refused = subprocess.run(
            command, env={**cluster.environment, **changes}, check=False, capture_output=True, text=True
        )
        assert refused.returncode == 2, refused.stderr
        assert f"no Ray job server at {url}" in refused.stderr
        assert "Traceback" not in refused.stderr
