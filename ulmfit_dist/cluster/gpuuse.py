"""How busy the GPUs of a stage are, told in its events: asked of nvidia-smi, which is wherever there is a driver."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator

from ulmfit_dist.events import Reporter

GPU_USE = "gpu-use"
_INTERVAL_S = 30.0  # a query takes 30 to 100 ms of another process
_ANSWER_S = 10.0
_QUERY = ["--query-gpu=index,utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits"]


@contextlib.contextmanager
def gpu_use_told(reporter: Reporter, interval_s: float = _INTERVAL_S) -> Iterator[None]:
    """Inside the block, report an event `gpu-use` for each GPU of this process every half minute.

    Its fields: host, gpu (index on the host), busy (share of the time, 0 to 1), memory and memory_total (MiB).
    A process without GPUs or without nvidia-smi reports nothing.
    """
    mine, tool = os.environ.get("CUDA_VISIBLE_DEVICES", ""), shutil.which("nvidia-smi")
    if not mine or tool is None:
        yield
        return
    command, ended = [tool, f"--id={mine}", *_QUERY], threading.Event()

    def watch() -> None:
        while not ended.wait(interval_s):
            for row in _ask(command):
                reporter.event(GPU_USE, host=socket.gethostname(), **row)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _ask(command: list[str]) -> list[dict[str, float]]:
    try:
        answer = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_ANSWER_S)  # noqa: S603 - our own words
        rows = [[float(field) for field in line.split(",")] for line in answer.stdout.splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []  # a driver that does not answer, or says [N/A]: the training goes on without
    return [
        {"gpu": int(index), "busy": busy / 100, "memory": used, "memory_total": total}
        for index, busy, used, total in rows
    ]
