"""Whether every node of a joined cluster sees the data and the run directory: found out before anything starts."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ulmfit_dist.cluster.plan import PlannedStage
from ulmfit_dist.errors import InputError

_ANSWER_S = 120.0


def check_visible(stages: Sequence[PlannedStage], run_dir: Path) -> None:
    """Look from every node at what the stages read from outside the run, and exchange a file through the run directory.

    Raises InputError naming the node and the path that it does not see as this process does.
    """
    sources = sorted({path for s in stages for path in s.inputs.values() if not path.is_relative_to(run_dir)})
    here = {str(path): look(path) for path in sources}
    token = secrets.token_hex(8)
    sent = run_dir / f"visible-{token}"
    sent.write_text(token)
    answers = {node: run_dir / f"visible-{token}-{node[:12]}" for node in _nodes()}
    task = ray.remote(num_cpus=0, max_retries=1)(_look_from_node)
    try:
        asked = {
            node: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                list(here), sent, answer
            )
            for node, answer in answers.items()
        }
        for node, reference in asked.items():
            host, there, heard = _answer(node, reference)
            _compare(host, here, there)
            if heard != token or not answers[node].exists():
                raise InputError(
                    f"{host} does not share the run directory {run_dir}",
                    found="a file written here is not seen there, or the other way round",
                    do="choose a --run-dir on storage that every node mounts at the same path, with the same rights",
                )
    finally:
        for path in (sent, *answers.values()):
            path.unlink(missing_ok=True)


def look(path: Path) -> str:
    """Say what is at a path, in words that differ when the content's kind or size differs."""
    if path.is_file():
        return f"a file of {path.stat().st_size} bytes"
    return f"a folder of {sum(1 for _ in path.iterdir())} entries" if path.is_dir() else "nothing"


def _nodes() -> list[str]:
    return [str(node["NodeID"]) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _answer(node: str, reference: object) -> tuple[str, dict[str, str], str]:
    try:
        host, there, heard = ray.get(reference, timeout=_ANSWER_S)  # type: ignore[call-overload]
    except (RayError, TimeoutError) as error:
        raise InputError(
            f"node {node[:12]} of the cluster does not answer",
            found=str(error).strip().partition("\n")[0],
            do="look at that node with `ray status`, or remove it from the cluster",
        ) from error
    return host, there, heard


def _compare(host: str, here: dict[str, str], there: dict[str, str]) -> None:
    for path, expected in here.items():
        if there[path] != expected:
            raise InputError(
                f"{host} does not see {path} as {socket.gethostname()} does",
                found=f"{there[path]} there, {expected} here",
                do="put the data on storage that every node mounts at the same path, and name that path in the recipe",
            )


def _look_from_node(paths: list[str], sent: Path, answer: Path) -> tuple[str, dict[str, str], str]:
    heard = sent.read_text() if sent.exists() else ""
    if heard:
        answer.write_text(heard)
    node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return f"{socket.gethostname()} ({node})", {path: look(Path(path)) for path in paths}, heard
