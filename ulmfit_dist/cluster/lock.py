"""One live owner of a run directory: an owner file made with O_EXCL, taken away only from an owner that is gone.

On the owner's own machine its process is asked for. From another machine nobody can ask, so the file is a lease: the
owner touches it every `BEAT_S` seconds, and who finds it untouched for `LEASE_S` seconds of the own clock takes it. An
owner that was only paused finds that out at its next beat and stops (SIGTERM to itself: a checkpoint, exit 143). What
both may have written meanwhile is the same: results are renamed into place whole, and depend on their inputs only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from ulmfit_dist.errors import LockedError

OWNER_NAME = "owner.json"
BEAT_S = 5.0
LEASE_S = 60.0
_LOOK_S = 0.5
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


@contextlib.contextmanager
def owned(run_dir: Path) -> Iterator[None]:
    """Own the run directory inside the block.

    Raises LockedError, naming host and pid, when another run owns it. Where the owner's machine is another one this
    takes up to `BEAT_S` seconds, and `LEASE_S` until the directory of a lost machine is taken over.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    path, mine = run_dir / OWNER_NAME, _myself()
    while not _claim(path, mine):
        found = _content(path)
        if found is not None and _lives(path, found):
            owner = _parsed(found)
            raise LockedError(
                f"{run_dir} belongs to another run",
                found=f"process {owner.get('pid')} on host {owner.get('host')}",
                do=f"wait for it, or stop it with: ulmfit cancel {run_dir}",
            )
        if found is not None:
            _take_away(path, found)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, mine, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        if _content(path) == mine:
            path.unlink(missing_ok=True)


def read_owner(run_dir: Path) -> tuple[dict[str, Any], bool] | None:
    """Return who owns the run directory and whether it lives; None without an owner.

    Asks its process on this machine; of another machine the lease's age counts, by the two machines' clocks.
    """
    path = run_dir / OWNER_NAME
    found = _content(path)
    if found is None:
        return None
    owner = _parsed(found)
    if _is_here(owner):
        return owner, _process_lives(owner)
    with contextlib.suppress(FileNotFoundError):
        return owner, time.time() - _touched(path) / 1e9 < LEASE_S
    return None


def _claim(path: Path, mine: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        file.write(mine)
        file.flush()
        os.fsync(file.fileno())
    return True


def _myself() -> bytes:
    process = psutil.Process()
    owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": process.create_time(),
        "machine": _machine(),
        "since": round(time.time(), 3),
    }
    return json.dumps(owner).encode()


def _machine() -> str:
    """Name this boot of this machine and its processes' namespace: there alone a pid says who lives."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else f"{socket.gethostname()} {psutil.boot_time():.0f}"
    return f"{boot} {_PID_NAMESPACE.readlink()}" if _PID_NAMESPACE.exists() else boot


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _parsed(content: bytes) -> dict[str, Any]:
    """Read an owner; nothing is known of one that was killed while it wrote its name."""
    try:
        return dict(json.loads(content))
    except json.JSONDecodeError:
        return {}


def _is_here(owner: dict[str, Any]) -> bool:
    return owner.get("machine") == _machine()


def _process_lives(owner: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(int(owner["pid"]))
        # A second of slack: create_time is read in clock ticks. Another start time means that the pid was used again.
        started = abs(process.create_time() - float(owner["started"])) <= 1.0
        return bool(started and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _lives(path: Path, found: bytes) -> bool:
    """Whether the owner lives: by its process, or by a beat before the lease is over."""
    owner = _parsed(found)
    if _is_here(owner):
        return _process_lives(owner)
    try:
        first, deadline = _touched(path), time.monotonic() + LEASE_S
        while time.monotonic() < deadline:
            time.sleep(_LOOK_S)
            if _touched(path) != first:
                return True
    except FileNotFoundError:
        pass
    return False


def _touched(path: Path) -> int:
    # Opened, not only asked for: NFS keeps attributes for up to a minute and asks the server anew on open.
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns


def _take_away(path: Path, dead: bytes) -> None:
    """Remove a dead owner's file. Of several that try at once, one that moved a new owner's file puts it back."""
    aside = path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}")
    if _content(path) != dead:
        return
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if aside.read_bytes() != dead:
        with contextlib.suppress(OSError):
            os.link(aside, path)
    aside.unlink()


def _beat(path: Path, mine: bytes, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        # A storage that does not answer for a while says nothing about the owner.
        with contextlib.suppress(OSError):
            if _content(path) != mine:
                os.kill(os.getpid(), signal.SIGTERM)
                return
            os.utime(path)
