"""A real Ray cluster of two nodes on this machine, started as a site would: cluster/node.sh, own ports, own token."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

NODE = Path(__file__).parents[2] / "cluster" / "node.sh"


@dataclass
class Cluster:
    """A running cluster: what a client's environment needs, the jobs' address, and the processes of head and worker."""

    environment: dict[str, str]
    url: str
    folder: Path
    settings: dict[str, dict[str, str]]
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where a driver joins it."""
        return self.settings["head"]["ULMFIT_HEAD"]

    def start(self, role: str) -> None:
        """Start the head or the worker, a second time after its end too, and wait until the cluster has it."""
        before = self.alive()
        with (self.folder / f"{role}.log").open("ab") as log:
            self.nodes[role] = subprocess.Popen(
                [str(NODE), role],
                env={**self.environment, **self.settings[role]},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not self.alive() - before:
            assert self.nodes[role].poll() is None, f"the {role} ended; see its log"
            assert time.monotonic() < deadline, f"no {role} after two minutes"
            time.sleep(0.25)

    def kill(self, role: str) -> None:
        """Kill a node with all that it has started: the session is its own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.nodes[role].pid, signal.SIGKILL)
        self.nodes[role].wait()

    def get(self, path: str) -> object:
        """Ask the dashboard."""
        token = Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def alive(self) -> set[str]:
        """Return the ids of the nodes that are alive; none while the head does not answer."""
        try:
            nodes = self.get("/nodes?view=summary")["data"]["summary"]  # type: ignore[index]
        except (OSError, KeyError, ValueError):
            return set()
        return {node["raylet"]["nodeId"] for node in nodes if node["raylet"].get("state") == "ALIVE"}


@contextlib.contextmanager
def two_nodes(folder: Path, port: int, cpus: float = 1) -> Iterator[Cluster]:
    """Start head and worker with so many CPUs each; `port` is the first of 2,100 ports."""
    token = folder / "token"
    if not token.exists():  # a second cluster in the same folder has the first one's
        token.touch(mode=0o600)
        token.write_text(os.urandom(32).hex())
    temporary = tempfile.mkdtemp(prefix="ulmfit-two-", dir="/tmp")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    settings = {
        role: {
            "ULMFIT_HEAD": f"127.0.0.1:{port}",
            "ULMFIT_DASHBOARD_PORT": str(port + 1),
            "ULMFIT_NODE_IP": ip,
            "ULMFIT_PORTS": str(first),
            "ULMFIT_CPUS": f"{cpus:g}",
            "ULMFIT_TEMP": temporary,
            "ULMFIT_OBJECT_STORE": "100000000",
        }
        for role, ip, first in (("head", "127.0.0.1", port + 100), ("worker", "127.0.0.2", port + 1100))
    }
    cluster = Cluster(environment, f"http://127.0.0.1:{port + 1}", folder, settings)
    try:
        for role in settings:
            cluster.start(role)
        yield cluster
    finally:
        for role in reversed(cluster.nodes):
            cluster.kill(role)
        shutil.rmtree(temporary, ignore_errors=True)
