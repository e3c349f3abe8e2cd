"""`ulmfit doctor`: what this machine has, what the system needs, and the cure for each difference."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from ulmfit_dist.config import data_folder
from ulmfit_dist.files import write_bytes

_GIB = 1 << 30
_RAY_TESTED = "2.60."
_FREE_DISK_GIB = 2.0
_FREE_MEMORY_GIB = 4.0
_SHARED_MEMORY_GIB = 0.25  # the embedded Ray asks for 200 MB of object store


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, what was found, whether it is good, and what to do when it is not."""

    subject: str
    found: str
    good: bool
    do: str = ""


def examine(folder: Path) -> Iterator[Finding]:
    """Run every check; `folder` is where run directories would be written."""
    checks: tuple[Callable[[], Finding], ...] = (_python, _torch, _ray, _memory, _shared_memory, _recipes)
    for check in checks:
        yield check()
    yield _disk(folder)
    yield _writable(folder)


def _python() -> Finding:
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Finding("Python", platform.python_version(), good, "use Python 3.11, 3.12 or 3.13")


def _torch() -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("torch", f"{torch.__version__}, no GPU: everything runs on {os.cpu_count()} CPUs", good=True)
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    works = bool(torch.ones(1, device="cuda").item() == 1.0)
    return Finding("torch", f"{torch.__version__}, CUDA {torch.version.cuda}, {names}", works, "match driver and CUDA")


def _ray() -> Finding:
    version = metadata.version("ray")
    good = version.startswith(_RAY_TESTED)
    return Finding("Ray", version, good, f"install Ray {_RAY_TESTED}*: the one that was tested")


def _memory() -> Finding:
    free = psutil.virtual_memory().available / _GIB
    return Finding("memory", f"{free:.1f} GiB free", free >= _FREE_MEMORY_GIB, f"free {_FREE_MEMORY_GIB:.0f} GiB")


def _shared_memory() -> Finding:
    path = Path("/dev/shm")  # noqa: S108 - the shared memory file system itself, not a temporary file
    free = shutil.disk_usage(path).free / _GIB if path.is_dir() else 0.0
    do = "mount a larger /dev/shm (in a container: --shm-size=1g)"
    return Finding(str(path), f"{free:.1f} GiB free", free >= _SHARED_MEMORY_GIB, do)


def _recipes() -> Finding:
    found = sum(1 for name in ("tokenizers", "launch") for _ in data_folder(name).rglob("*.toml"))
    return Finding("recipes", f"{found} found", found > 0, "install the package again: its data is missing")


def _disk(folder: Path) -> Finding:
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / _GIB
    return Finding(
        "disk", f"{free:.1f} GiB free at {existing}", free >= _FREE_DISK_GIB, "free space or choose --run-dir"
    )


def _writable(folder: Path) -> Finding:
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=existing) as scratch:
            write_bytes(Path(scratch) / "file", b"x")
    except OSError as error:
        return Finding("writing", f"{existing}: {error.strerror}", good=False, do="choose another --run-dir")
    return Finding("writing", f"{existing}: atomic rename and fsync work", good=True)
