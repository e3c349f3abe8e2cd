"""`ulmfit doctor`: what this machine or cluster has, what the system needs, and the cure for each difference."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray
from ray._private.ray_constants import DASHBOARD_ADDRESS, KV_NAMESPACE_DASHBOARD
from ray.experimental.internal_kv import _internal_kv_get

from ulmfit_dist.cluster.checks.accelerator import accelerators
from ulmfit_dist.cluster.checks.allreduce import between_processes
from ulmfit_dist.cluster.checks.exposure import authentication, exposed_ports, jobs_refused
from ulmfit_dist.cluster.checks.finding import Finding, Level, judged
from ulmfit_dist.cluster.checks.machine import machine
from ulmfit_dist.cluster.checks.nodes import nodes
from ulmfit_dist.cluster.checks.storage import storage
from ulmfit_dist.cluster.session import Where, ray_session
from ulmfit_dist.errors import InputError

_POLL_S = 0.5
_DASHBOARD_S = 30.0  # it starts some seconds after the head answers
_NO_JOBS = Finding(
    "jobs", "the head has no dashboard", Level.WARNING, "pip install 'ray[default]' there: it takes jobs"
)


@dataclass(frozen=True)
class Site:
    """A cluster to examine: its address, how many nodes it should have within `wait` seconds, what they share."""

    address: str
    num_nodes: int = 1
    wait: float = 0.0
    shared: Path | None = None


def examine(folder: Path) -> Iterator[Finding]:
    """Check this machine; `folder` is where run directories would be written."""
    yield from machine()
    yield from accelerators()
    yield from storage(folder)
    yield between_processes("gloo")


def examine_site(folder: Path, site: Site) -> Iterator[Finding]:
    """Check a cluster: every node as `examine` does, then what is between them and who can reach them."""
    asked = time.monotonic()
    yield from authentication()
    if not _answers(site):
        do = "start the head (cluster/node.sh head), or open its port to this machine"
        yield Finding("cluster", f"nothing listens at {site.address}", Level.BLOCKS, do)
        return
    try:
        with ray_session(Where(site.address)):
            yield _all_there(site, asked)
            yield from nodes(folder, site.shared)
            dashboard = _dashboard()
            yield jobs_refused(dashboard) if dashboard else _NO_JOBS
            yield exposed_ports(dashboard)
    except InputError as error:
        yield Finding("cluster", f"{error.what} ({error.found})", Level.BLOCKS, error.do)


def _answers(site: Site) -> bool:
    """Wait for the head's port: Ray's own wait for it cannot be bounded and ends in a process that cannot ask again."""
    host, _, port = site.address.rpartition(":")
    if not host or not port.isdecimal():  # "auto" and the like
        return True
    deadline = time.monotonic() + site.wait
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def _dashboard() -> str:
    """Return HOST:PORT of the cluster's jobs API; empty when none appears."""
    deadline = time.monotonic() + _DASHBOARD_S
    while not (found := _internal_kv_get(DASHBOARD_ADDRESS, namespace=KV_NAMESPACE_DASHBOARD)):
        if time.monotonic() >= deadline:
            return ""
        time.sleep(_POLL_S)
    return str(found.decode())


def _all_there(site: Site, asked: float) -> Finding:
    while True:
        alive = len([node for node in ray.nodes() if node["Alive"]])  # type: ignore[no-untyped-call]
        if alive >= site.num_nodes or time.monotonic() >= asked + site.wait:
            break
        time.sleep(_POLL_S)
    found = f"{alive} nodes at {site.address}, {site.num_nodes} expected"
    do = "look at the output of the nodes that are missing; they need the head's address, token and Ray version"
    return judged("cluster", found, good=alive >= site.num_nodes, do=do)
