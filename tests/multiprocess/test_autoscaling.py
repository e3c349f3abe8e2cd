"""A cluster whose GPU pool is empty grows for the stages that wait, and shrinks when the run is over.

Ray's own stand-in for a cloud starts the nodes as processes of this machine; their GPU is a number only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from ulmfit_dist.cluster.console import make_watch
from ulmfit_dist.cluster.coordinator import Coordinator
from ulmfit_dist.cluster.plan import Output, SourceDigests, StageSpec, make_plan
from ulmfit_dist.cluster.session import Where, capacity, ray_session
from ulmfit_dist.config import Settings
from ulmfit_dist.files import write_json
from ulmfit_dist.stage import StageCall, StageKind, Summary

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]
PORT = 41000


class Job(Settings):
    pass


def _gpus(_: StageCall[Job]) -> Summary:
    return {"gpus": os.environ.get("CUDA_VISIBLE_DEVICES", "")}


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A head without GPUs that may start two nodes of one GPU; idle ones end after six seconds."""
    at, temporary = f"127.0.0.1:{PORT}", tempfile.mkdtemp(prefix="ulmfit-scale-", dir="/tmp")
    types = {
        "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 0},
        "gpu": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    }
    config = {
        "cluster_name": "growing",
        "max_workers": 2,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        "provider": {"type": "fake_multinode", "gcs_address": at},
        "available_node_types": types,
        "head_node_type": "ray.head.default",
        # What is for real clouds, and must be there all the same.
        "auth": {"ssh_user": "nobody"},
        **{name: {} for name in ("file_mounts", "docker")},
        **{f"{name}_commands": [] for name in ("setup", "initialization", "head_setup", "worker_setup")},
        **{f"{name}_start_ray_commands": [] for name in ("head", "worker")},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        "file_mounts_sync_continuously": False,
    }
    write_json(tmp_path / "scaling.json", config)
    (tmp_path / "token").write_text("a" * 64)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    environment = {**os.environ, "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={PORT}"]
    command += [f"--temp-dir={temporary}", "--num-cpus=1", "--num-gpus=0", "--include-dashboard=false"]
    command += ["--node-ip-address=127.0.0.1", f"--autoscaling-config={tmp_path / 'scaling.json'}"]
    command += ["--object-store-memory=100000000", f"--ray-client-server-port={PORT + 1}"]
    with (tmp_path / "head.log").open("wb") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        while "Ray runtime started" not in (tmp_path / "head.log").read_text():
            assert head.poll() is None
            time.sleep(0.1)
        yield at
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(temporary)


def test_gpus_come_when_stages_wait_for_them_and_go_afterwards(address: str, tmp_path: Path) -> None:
    kinds = {"job": StageKind("job", 1, _gpus)}
    specs = [
        StageSpec("read", "job", Job(), {}),
        *(StageSpec(f"train-{i}", "job", Job(), {"read": Output("read")}, gpus=1.0) for i in range(3)),
    ]
    run = tmp_path / "run"
    plan = make_plan(specs, kinds, run, SourceDigests(None))
    Coordinator(plan, kinds, run, make_watch(Console(stderr=True))).execute(Where(address, scaling_seconds=120.0))
    for stage in plan.stages.values():
        assert stage.done()
    with ray_session(Where(address)):
        deadline = time.monotonic() + 60
        while capacity().gpus:
            assert time.monotonic() < deadline, "the idle nodes stay"
            time.sleep(1)
