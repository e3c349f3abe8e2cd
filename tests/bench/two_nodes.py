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
from dataclasses import dataclass
from pathlib import Path

NODE = Path(__file__).parents[2] / "cluster" / "node.sh"


@dataclass(frozen=True)
class Cluster:
    """A running cluster: what a client's environment needs, the jobs' address, and the two node processes."""

    environment: dict[str, str]
    url: str
    head: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    def get(self, path: str) -> object:
        """Ask the dashboard."""
        token = Path(self.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def num_nodes(self) -> int:
        """How many nodes are alive; 0 while the head does not answer."""
        try:
            nodes = self.get("/nodes?view=summary")["data"]["summary"]  # type: ignore[index]
        except (OSError, KeyError, ValueError):
            return 0
        return sum(node["raylet"].get("state") == "ALIVE" for node in nodes)


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
    nodes = []
    try:
        for role, ip, first in (("head", "127.0.0.1", port + 100), ("worker", "127.0.0.2", port + 1100)):
            settings = {
                "ULMFIT_HEAD": f"127.0.0.1:{port}",
                "ULMFIT_DASHBOARD_PORT": str(port + 1),
                "ULMFIT_NODE_IP": ip,
                "ULMFIT_PORTS": str(first),
                "ULMFIT_CPUS": f"{cpus:g}",
                "ULMFIT_TEMP": temporary,
                "ULMFIT_OBJECT_STORE": "100000000",
            }
            with (folder / f"{role}.log").open("wb") as log:
                node = subprocess.Popen(
                    [str(NODE), role], env={**environment, **settings}, stdout=log, stderr=log, start_new_session=True
                )
            nodes.append(node)
            cluster = Cluster(environment, f"http://127.0.0.1:{port + 1}", nodes[0], nodes[-1])
            _wait(cluster, len(nodes))
        yield cluster
    finally:
        for node in reversed(nodes):
            end(node)
        shutil.rmtree(temporary, ignore_errors=True)


def end(node: subprocess.Popen[bytes]) -> None:
    """Kill a node with all that it has started: the session is its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()


def _wait(cluster: Cluster, nodes: int) -> None:
    deadline = time.monotonic() + 120
    while cluster.num_nodes() < nodes:
        assert cluster.worker.poll() is None, "a node ended; see its log"
        assert time.monotonic() < deadline, f"no {nodes} nodes after two minutes"
        time.sleep(0.25)
