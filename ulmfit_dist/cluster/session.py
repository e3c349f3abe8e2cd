"""A Ray session: the embedded local default, or an existing cluster by address.

Never a bare `ray.init()`: without an address it joins anybody's cluster on the host (notes on `ray_current_cluster`).
Ray is imported when a session begins: that takes half a second, and plans say where they would run without one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from ulmfit_dist.cluster.ledger import Capacity
from ulmfit_dist.cluster.spool import sweep_dead
from ulmfit_dist.errors import InputError, SignalledError
from ulmfit_dist.files import digest_bytes

LOCAL = "local"
# The store holds settings and receipts only (tokens never pass through it); Ray's default is 30 % of the memory.
_OBJECT_STORE_BYTES = 200_000_000
_AUTOSCALER = "ray/autoscaler/_private/monitor.py"
_SHORT_FOLDER = "/tmp"  # noqa: S108 - mkdtemp makes a folder of its own there, for this user alone


@dataclass(frozen=True)
class Where:
    """Where work executes: the Ray address and, for the embedded one, how many CPUs it may use (None: all).

    scaling_seconds: how long a joined cluster may take to bring GPUs that it has not; 0: it stays as it is.
    """

    address: str = LOCAL
    num_cpus: int | None = None
    scaling_seconds: float = 0.0

    @classmethod
    def choose(cls, address: str | None, num_cpus: int | None = None) -> Where:
        """Return the cluster to use: the option, else RAY_ADDRESS, else the embedded one."""
        return cls(address or os.environ.get("RAY_ADDRESS") or LOCAL, num_cpus)


@contextlib.contextmanager
def ray_session(where: Where) -> Iterator[Capacity]:
    """Connect to a cluster ("local" starts a Ray that ends with the block); give what it has.

    Raises InputError when no cluster answers at the address, SignalledError for a SIGTERM that nobody else handles.
    """
    session = _embedded(where.num_cpus) if where.address == LOCAL else _joined(where.address)
    with _sigterm_as_error(), session:
        yield capacity()


@contextlib.contextmanager
def _sigterm_as_error() -> Iterator[None]:
    """Raise SignalledError for a SIGTERM, on which the handler that `ray.init` sets would exit with code 15."""
    alone = threading.current_thread() is not threading.main_thread()  # signals are the main thread's affair
    # From here on as from `ray.init` on: a process that dies of the signal leaves its Ray to end by itself.
    before = None if alone else signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
    try:
        yield
    except SystemExit as ended:
        if ended.code == signal.SIGTERM:
            raise SignalledError(signal.SIGTERM, do="run the same command to continue") from None
        raise
    finally:
        if not alone:
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _joined(address: str) -> Iterator[None]:
    import ray

    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        found, do = str(error).partition("\n")[0], "check --address, RAY_ADDRESS and the cluster's token"
        raise InputError(f"no Ray cluster at {address}", found=found, do=do) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _embedded(num_cpus: int | None) -> Iterator[None]:
    """Start a Ray of this process alone: its own token, its own folder, gone at the end (an error leaves the logs)."""
    import ray

    if os.environ["RAY_AUTH_MODE"] == "token":
        # ray.init would otherwise write a token to the home folder, readable by all.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Not under the run directory: a socket's path has 107 bytes at most. Not in Ray's own /tmp/ray: there a bare
    # ray.init() of somebody else would find and join this cluster.
    mine = f"ulmfit-{digest_bytes(socket.gethostname().encode())[:6]}-"
    sweep_dead(Path(_SHORT_FOLDER), mine)
    folder = tempfile.mkdtemp(prefix=f"{mine}{os.getpid()}-", dir=_SHORT_FOLDER)
    try:
        ray.init(
            LOCAL,
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=folder,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        # Ray prints what its raylet says to the driver's stdout, which belongs to the command's result.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _end_autoscaler()
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def capacity() -> Capacity:
    """Return what the connected cluster has."""
    import ray

    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return Capacity(float(resources.get("CPU", 0)), float(resources.get("GPU", 0)))


def _end_autoscaler() -> None:
    """Kill the autoscaler of the embedded Ray, which has nothing to scale.

    `ray.shutdown` gives it a second to end, and it uses that up: it wants to tell its cluster, which is gone by then.
    """
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(word.endswith(_AUTOSCALER) for word in child.cmdline()):
                child.kill()
