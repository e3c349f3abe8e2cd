"""Checks of one machine: interpreter, versions, memory, shared memory, the package's own data."""

from __future__ import annotations

import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

import psutil

from ulmfit_dist.cluster.checks.finding import Finding, Level, judged
from ulmfit_dist.config import data_folder

GIB = 1 << 30
_RAY_TESTED = "2.60."
_FREE_MEMORY_GIB = 4.0
# The embedded Ray asks for 200 MB of object store and node.sh for 500; two ranks of NCCL need some 100 MB beside.
_SHARED_MEMORY_GIB = 0.6
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the shared memory file system itself, not a temporary file


def machine(shared_memory: Path = SHARED_MEMORY) -> list[Finding]:
    """Check interpreter, Ray, memory, shared memory and the recipes."""
    return [_python(), _ray(), _memory(), room_in_shared_memory(shared_memory), _recipes()]


def _python() -> Finding:
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return judged("Python", platform.python_version(), good=good, do="use Python 3.11, 3.12 or 3.13")


def _ray() -> Finding:
    version = metadata.version("ray")
    do = f"install Ray {_RAY_TESTED}*: the one that was tested"
    return judged("Ray", version, good=version.startswith(_RAY_TESTED), do=do)


def _memory() -> Finding:
    free = psutil.virtual_memory().available / GIB
    do = f"free {_FREE_MEMORY_GIB:.0f} GiB: Ray kills tasks when the machine is 95 % full"
    return judged("memory", f"{free:.1f} GiB free", good=free >= _FREE_MEMORY_GIB, do=do)


def room_in_shared_memory(path: Path) -> Finding:
    """Check the file system that Ray's object store and NCCL map: a container's default of 64 MB is too small."""
    free = shutil.disk_usage(path).free / GIB if path.is_dir() else 0.0
    do = "mount a larger /dev/shm: --shm-size=2g in a container, an emptyDir of medium Memory in a pod"
    good = free >= _SHARED_MEMORY_GIB
    # Not a block: Ray goes on with its store on disk.
    return judged(str(path), f"{free:.2f} GiB free", good=good, do=do, otherwise=Level.WARNING)


def _recipes() -> Finding:
    found = sum(1 for name in ("tokenizers", "launch") for _ in data_folder(name).rglob("*.toml"))
    return judged("recipes", f"{found} found", good=found > 0, do="install the package again: its data is missing")
