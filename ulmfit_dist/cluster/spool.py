"""Write a file on the node's own disk first where its place is on a network file system, then move it there whole.

HDF5 and Parquet write in many small pieces, each a round trip there; the move is one sequential copy. On a local disk
nothing is gained and every byte would be written twice, so the file is written at its place.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from ulmfit_dist.files import atomic_path, digest_bytes

_MOUNTS = Path("/proc/self/mountinfo")
# File system types as Linux names them. FUSE is nearly always an object store or ssh; containers' own overlay is not.
_NETWORK = frozenset({"9p", "afs", "beegfs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "orangefs", "panfs"})
_NETWORK |= {"pvfs2", "smb3", "smbfs", "virtiofs", "wekafs"}
_LOCAL_FUSE = "fuse.fuse-overlayfs"


@contextlib.contextmanager
def spooled(path: Path) -> Iterator[Path]:
    """Give the path to write (with `atomic_path`, as everything is): `path`, or one of the same name on a local disk.

    The latter, in TMPDIR, is copied to `path` when the block ends without error: under a temporary name beside it,
    fsynced and renamed. Raises the OSError of a full disk, whose file name says which of the two.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _pays(path.parent, Path(tempfile.gettempdir())):
        yield path
        return
    folder = _new_folder(Path(tempfile.gettempdir()))
    try:
        yield folder / path.name
        with atomic_path(path) as temporary:
            _copy(folder / path.name, temporary)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_dead(parent: Path, prefix: str) -> None:
    """Remove this user's folders `<prefix><pid>-*` in `parent` whose process is gone; `prefix` names the host."""
    for folder in parent.glob(f"{prefix}*-*"):
        pid = folder.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and folder.stat().st_uid == os.getuid() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        # The system call that copies between two files names the source, also when the target's disk is full.
        raise OSError(error.errno, error.strerror, str(target)) from error


def _new_folder(parent: Path) -> Path:
    # A process that is killed leaves its folder; the next one on that host that spools anything removes it.
    prefix = f"ulmfit-spool-{digest_bytes(socket.gethostname().encode())[:6]}-"
    _sweep_once(parent, prefix)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent))


@functools.cache
def _sweep_once(parent: Path, prefix: str) -> None:
    sweep_dead(parent, prefix)


def _pays(target: Path, spool: Path) -> bool:
    """Whether `target` is on a network file system and `spool` is not."""
    devices = [folder.stat().st_dev for folder in (target, spool)]
    if devices[0] == devices[1]:
        return False
    kinds = _kinds()
    return _is_network(kinds.get(devices[0], "")) and not _is_network(kinds.get(devices[1], ""))


def _is_network(kind: str) -> bool:
    return kind in _NETWORK or (kind.startswith("fuse.") and kind != _LOCAL_FUSE)


def _kinds() -> dict[int, str]:
    """Return the type of each mounted file system by device number; nothing where there is no such list."""
    kinds: dict[int, str] = {}
    if not _MOUNTS.is_file():
        return kinds
    for line in _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        # "36 35 98:0 /root /mount options [optional fields] - type source options" (man 5 proc)
        mount, _, file_system = line.partition(" - ")
        major, _, minor = mount.split()[2].partition(":")
        kinds[os.makedev(int(major), int(minor))] = file_system.split()[0]
    return kinds
