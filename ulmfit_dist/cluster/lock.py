"""One live owner of a run directory: an owner file made with O_EXCL, broken only when its owner is provably dead."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from ulmfit_dist.errors import LockedError

OWNER_NAME = "owner.json"


@contextlib.contextmanager
def owned(run_dir: Path) -> Iterator[None]:
    """Own the run directory inside the block.

    Raises LockedError, naming host and pid, when another run owns it, or when its owner is on a host that cannot be
    asked whether it still lives.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / OWNER_NAME
    while not _claim(path):
        owner = _read(path)
        if owner is not None and not _provably_dead(owner):
            raise LockedError(
                f"{run_dir} belongs to another run",
                found=f"process {owner.get('pid')} on host {owner.get('host')}",
                do=f"wait for it or stop it; if that host is gone for good, delete {path}",
            )
        path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _claim(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        json.dump(_myself(), file)
        file.flush()
        os.fsync(file.fileno())
    return True


def _myself() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "booted": int(psutil.boot_time()),
    }


def _read(path: Path) -> dict[str, Any] | None:
    """Read the owner; None for a file that vanished or that its writer was killed in the middle of."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _provably_dead(owner: dict[str, Any]) -> bool:
    if owner.get("host") != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(owner["pid"]))
        # A second of slack: create_time is read in clock ticks. Another start time means that the pid was used again.
        return bool(abs(process.create_time() - float(owner["started"])) > 1.0)
    except psutil.NoSuchProcess:
        return True
