"""Checks of the folder where runs are written: room, atomic writes, locks between processes."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ulmfit_dist.cluster.checks.finding import Finding, Level, judged
from ulmfit_dist.cluster.checks.machine import GIB
from ulmfit_dist.files import write_bytes

_FREE_DISK_GIB = 2.0
_ANSWER_S = 20.0
_HOLDER = """
import fcntl, sys
with open(sys.argv[1], "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


def storage(folder: Path) -> list[Finding]:
    """Check the folder, or the nearest one above it that exists; nothing stays behind."""
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    written = _writing(existing)
    return [_room(existing), written, *([_locks(existing)] if written.good else [])]


def _room(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / GIB
    do = "free space or choose another --run-dir"
    return judged("disk", f"{free:.1f} GiB free at {folder}", good=free >= _FREE_DISK_GIB, do=do)


def _writing(folder: Path) -> Finding:
    try:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            write_bytes(Path(scratch) / "file", b"x")
    except OSError as error:
        return Finding("writing", f"{folder}: {error.strerror}", Level.BLOCKS, "choose another --run-dir")
    return Finding("writing", f"{folder}: atomic rename and fsync work")


def _locks(folder: Path) -> Finding:
    """Hold a lock in another process and ask for it here."""
    do = "keep resources.cache_dir on a disk of the node's own: copies of shards there are guarded by such locks"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "lock"
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", _HOLDER, str(path)]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as holder:  # noqa: S603
            assert holder.stdout is not None
            assert holder.stderr is not None
            if holder.stdout.readline().strip() != "held":
                refusal = (holder.stderr.read().strip().splitlines() or ["it ended"])[-1]
                return Finding("file locks", f"{folder}: {refusal}", Level.WARNING, do)
            excludes = not _locked_here(path)
            holder.communicate(timeout=_ANSWER_S)
        given_back = _locked_here(path)
    found = "one process excludes another" if excludes else "two processes hold the same lock"
    if excludes and not given_back:
        found = "the lock of a process that has ended stays"
    return judged("file locks", f"{folder}: {found}", good=excludes and given_back, do=do, otherwise=Level.WARNING)


def _locked_here(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
