"""Checks of a cluster: every node answers, runs the same code, sees the same storage, and can talk to the others."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import ulmfit_dist
from ulmfit_dist.cluster.checks import allreduce
from ulmfit_dist.cluster.checks.accelerator import accelerators
from ulmfit_dist.cluster.checks.finding import Finding, Level, judged
from ulmfit_dist.cluster.checks.machine import machine
from ulmfit_dist.cluster.checks.ports import free_port
from ulmfit_dist.cluster.checks.storage import storage
from ulmfit_dist.cluster.visible import check_visible
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import digest_bytes

_ANSWER_S = 180.0
_SKEW_S = 2.0  # times in events.jsonl of different nodes are compared
_SKEW_BLOCKS_S = 30.0  # half of the lease of a run directory: a live owner would look dead
_STOP_GRACE_S = 10.0  # within it a trainer has written its checkpoint
_STOP_GRACE_DEFAULT_S = 3.0
_GRACE_NAME = "RAY_JOB_STOP_WAIT_TIME_S"


@dataclass(frozen=True)
class NodeReport:
    """What a node says of itself; `gpus` as Ray counts them, `stop_grace` in seconds."""

    host: str
    address: str
    versions: dict[str, str]
    stop_grace: float
    gpus: float
    findings: tuple[Finding, ...]


def nodes(folder: Path, shared: Path | None) -> Iterator[Finding]:
    """Check the connected cluster node by node, then between nodes; `folder` is where runs are written.

    `shared` (None: `folder` is not expected to be shared) has to be one folder for all nodes.
    """
    reports = []
    for node in (node for node in ray.nodes() if node["Alive"]):  # type: ignore[no-untyped-call]
        answer = _asked(node, folder)
        if isinstance(answer, Finding):
            yield answer
            continue
        report, skew = answer
        reports.append((str(node["NodeID"]), report))
        yield from (replace(finding, node=report.host) for finding in report.findings)
        yield clock(report.host, skew)
    yield same_versions(_versions(), {report.host: report.versions for _, report in reports})
    yield stop_grace({report.host: report.stop_grace for _, report in reports})
    if shared is not None:
        yield _shared(shared)
    if len(reports) > 1:
        yield _all_reduce("gloo", reports)
    on_gpus = [(node, report) for node, report in reports if report.gpus]
    if len(on_gpus) > 1:
        yield _all_reduce("nccl", on_gpus)


def clock(host: str, skew: tuple[float, float]) -> Finding:
    """Judge a clock that is `skew[0]` seconds ahead of ours, give or take `skew[1]`."""
    ahead, error = skew
    least = max(0.0, abs(ahead) - error)
    found = f"{ahead:+.2f} s against this machine's, give or take {error:.2f}"
    level = Level.BLOCKS if least > _SKEW_BLOCKS_S else Level.WARNING if least > _SKEW_S else Level.GOOD
    return Finding("clock", found, level, "synchronise the nodes' clocks (chrony or systemd-timesyncd)", host)


def same_versions(here: dict[str, str], there: dict[str, dict[str, str]]) -> Finding:
    """Compare the versions of every node with ours; the package's own is the digest of its sources."""
    different = [
        f"{name} {versions.get(name, 'missing')} on {host}, {version} here"
        for host, versions in sorted(there.items())
        for name, version in here.items()
        if versions.get(name) != version
    ]
    do = "install the same constraints.txt and the same ulmfit_dist on every node"
    return judged("versions", "; ".join(different) or "equal on all nodes", good=not different, do=do)


def stop_grace(seconds: dict[str, float]) -> Finding:
    """Judge how long the cluster waits between telling a job to stop and killing it."""
    short = {host: value for host, value in seconds.items() if value < _STOP_GRACE_S}
    found = ", ".join(f"{value:.0f} s on {host}" for host, value in (short or seconds).items())
    do = f"start every node with {_GRACE_NAME}=30: a stopped job would be killed before its checkpoint is written"
    return judged("stop grace", found, good=not short, do=do, otherwise=Level.WARNING)


def _asked(node: dict[str, Any], folder: Path) -> tuple[NodeReport, tuple[float, float]] | Finding:
    where = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    sent = time.time()
    try:
        told = float(_on(str(node["NodeID"]), _clock))  # starts a worker process too, so the second one is the fast one
        sent = time.time()
        told = float(_on(str(node["NodeID"]), _clock))
        received = time.time()
        report: NodeReport = _on(str(node["NodeID"]), _look, folder)
    except (RayError, TimeoutError) as error:
        do = "install ulmfit_dist there, and look at the node with `ray status`"
        return Finding("node", f"{where}: {_last_line(error)}", Level.BLOCKS, do, where)
    return replace(report, host=where), (told - (sent + received) / 2, (received - sent) / 2)


def _on(node: str, function: Any, *arguments: Any) -> Any:
    """Call a function on a node."""
    return ray.get(_start(node, function, 0.0, *arguments), timeout=_ANSWER_S)


def _start(node: str, function: Any, gpus: float, *arguments: Any) -> Any:
    place = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=0)(function)
    return task.options(scheduling_strategy=place).remote(*arguments)


def _clock() -> float:
    return time.time()


def _look(folder: Path) -> NodeReport:
    mine = ray.get_runtime_context().get_node_id()
    (me,) = [node for node in ray.nodes() if node["NodeID"] == mine]  # type: ignore[no-untyped-call]
    return NodeReport(
        socket.gethostname(),
        str(me["NodeManagerAddress"]),
        _versions(),
        float(os.environ.get(_GRACE_NAME, _STOP_GRACE_DEFAULT_S)),
        float(me["Resources"].get("GPU", 0)),
        (*machine(), *accelerators(), *storage(folder)),
    )


def _versions() -> dict[str, str]:
    root = Path(ulmfit_dist.__file__).parent
    sources = b"".join(path.read_bytes() for path in sorted(root.rglob("*.py")))
    return {
        "Python": platform.python_version(),
        "Ray": ray.__version__,
        "torch": torch.__version__.partition("+")[0],
        "ulmfit_dist": digest_bytes(sources)[:8],
    }


def _shared(shared: Path) -> Finding:
    try:
        shared.mkdir(parents=True, exist_ok=True)
        check_visible((), shared)
    except (InputError, OSError) as error:
        do = error.do if isinstance(error, InputError) else "name a folder on storage that every node mounts"
        found = f"{error.what} ({error.found})" if isinstance(error, InputError) else f"{shared}: {error.strerror}"
        return Finding("shared folder", found, Level.BLOCKS, do)
    return Finding("shared folder", f"{shared}: every node reads what is written here, and the other way round")


def _all_reduce(backend: str, ranks: list[tuple[str, NodeReport]]) -> Finding:
    """Measure between nodes, one rank each."""
    first, size = ranks[0], len(ranks)
    try:
        address = f"{first[1].address}:{_on(first[0], free_port)}"
        gpus = 1.0 if backend == "nccl" else 0.0
        started = [
            _start(node, allreduce.rate, gpus, backend, rank, size, address) for rank, (node, _) in enumerate(ranks)
        ]
        rates = ray.get(started, timeout=_ANSWER_S)
    except (RayError, TimeoutError) as error:
        return allreduce.failed(backend, f"between {size} nodes: {_last_line(error)}")
    return allreduce.judged_rate(backend, min(rates), f"between {size} nodes")


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
