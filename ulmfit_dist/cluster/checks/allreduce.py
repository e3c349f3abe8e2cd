"""A measured all-reduce: what a step of data-parallel training does, between processes and between nodes.

`python -m ulmfit_dist.cluster.checks.allreduce BACKEND RANK WORLD_SIZE PORT` is one rank of it on this machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from ulmfit_dist.cluster.checks.finding import Finding, Level
from ulmfit_dist.cluster.checks.ports import free_port

_BYTES = {"gloo": 16 << 20, "nccl": 256 << 20}  # a 60 M parameter model's gradients are 240 MB
_REPEATS = 5
_LIMIT_S = 60.0
# Below this the 240 MB of gradients of such a model take over a second a step.
SLOW_GB_S = 0.24
_DO = {
    "gloo": "set GLOO_SOCKET_IFNAME to the interface that joins the nodes, and let them reach each other's ports",
    "nccl": "set NCCL_DEBUG=INFO and NCCL_SOCKET_IFNAME; in a container give /dev/shm and ulimit -l unlimited",
}


def rate(backend: str, rank: int, world_size: int, address: str) -> float:
    """Return the bus bandwidth in GB/s of an all-reduce between the ranks that meet at HOST:PORT.

    Rank r uses GPU r of its process's visible ones, modulo their number, when the backend is nccl. Raises RuntimeError
    when the ranks do not meet, or the sum is wrong.
    """
    limit = timedelta(seconds=_LIMIT_S)
    store, _, _ = next(rendezvous(f"tcp://{address}?rank={rank}&world_size={world_size}", timeout=limit))
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=limit)
    try:
        device = torch.device("cuda", rank % torch.cuda.device_count()) if backend == "nccl" else torch.device("cpu")
        values = torch.ones(_BYTES[backend] // 4, device=device)
        dist.all_reduce(values)  # the first one connects
        if values[0].item() != world_size or values[-1].item() != world_size:
            raise RuntimeError(f"a sum of {world_size} ones is {values[0].item()}")
        best = min(_seconds(values) for _ in range(_REPEATS))
        return 2 * (world_size - 1) / world_size * _BYTES[backend] / best / 1e9
    finally:
        dist.destroy_process_group()


def between_processes(backend: str, world_size: int = 2) -> Finding:
    """Measure between processes of this machine, one a GPU with nccl."""
    port = str(free_port())
    ranks = [
        subprocess.Popen(  # noqa: S603 - this module itself
            [sys.executable, "-m", __name__, backend, str(rank), str(world_size), port],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]
    subject, deadline = f"{backend} all-reduce", time.monotonic() + 2 * _LIMIT_S
    try:
        outputs = [rank.communicate(timeout=max(1.0, deadline - time.monotonic())) for rank in ranks]
    except subprocess.TimeoutExpired:
        return Finding(subject, f"no answer in {2 * _LIMIT_S:.0f} s", Level.BLOCKS, _DO[backend])
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    for rank, (_, errors) in zip(ranks, outputs, strict=True):
        if rank.returncode:
            return failed(backend, (errors.strip().splitlines() or [f"exit {rank.returncode}"])[-1])
    return judged_rate(backend, min(float(out) for out, _ in outputs), f"between {world_size} processes")


def judged_rate(backend: str, measured: float, where: str) -> Finding:
    """Return the finding for a bandwidth in GB/s."""
    level = Level.GOOD if measured >= SLOW_GB_S else Level.WARNING
    return Finding(f"{backend} all-reduce", f"{measured:.2f} GB/s {where}", level, _DO[backend])


def failed(backend: str, why: str) -> Finding:
    """Return the finding for ranks that did not meet."""
    return Finding(f"{backend} all-reduce", why, Level.BLOCKS, _DO[backend])


def _seconds(values: torch.Tensor) -> float:
    if values.is_cuda:
        torch.cuda.synchronize(values.device)
    start = time.perf_counter()
    dist.all_reduce(values)
    if values.is_cuda:
        torch.cuda.synchronize(values.device)
    return time.perf_counter() - start


if __name__ == "__main__":
    _backend, _rank, _world_size, _port = sys.argv[1:]
    sys.stdout.write(str(rate(_backend, int(_rank), int(_world_size), f"127.0.0.1:{_port}")))
