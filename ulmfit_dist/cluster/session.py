"""A Ray session: the embedded local default, or an existing cluster by address.

Never a bare `ray.init()`: without an address it joins anybody's cluster on the host (notes on `ray_current_cluster`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray

from ulmfit_dist.errors import InputError

LOCAL = "local"
# The store holds settings and receipts only (tokens never pass through it); Ray's default is 30 % of the memory.
_OBJECT_STORE_BYTES = 200_000_000


@dataclass(frozen=True)
class Where:
    """Where work executes: the Ray address and, for the embedded one, how many CPUs it may use (None: all)."""

    address: str = LOCAL
    num_cpus: int | None = None

    @classmethod
    def choose(cls, address: str | None, num_cpus: int | None = None) -> Where:
        """Return the cluster to use: the option, else RAY_ADDRESS, else the embedded one."""
        return cls(address or os.environ.get("RAY_ADDRESS") or LOCAL, num_cpus)


@contextlib.contextmanager
def ray_session(where: Where) -> Iterator[float]:
    """Connect to a cluster ("local" starts a Ray that ends with the block); give the number of CPUs it has.

    Raises InputError when no cluster answers at the address.
    """
    address = where.address
    if address == LOCAL and os.environ["RAY_AUTH_MODE"] == "token":
        # A token of this session's own: ray.init would otherwise write one to the home folder, readable by all.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        _init(address, where.num_cpus)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"no Ray cluster at {address}", found=str(error).splitlines()[0], do="check --address"
        ) from error
    try:
        # Ray prints what its raylet says to the driver's stdout, which belongs to the command's result.
        with contextlib.redirect_stdout(sys.stderr):
            yield float(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()


def _init(address: str, num_cpus: int | None) -> None:
    if address != LOCAL:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        return
    ray.init(
        LOCAL,
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        # Socket paths have 107 bytes at most, and a run directory may be deep: the session stays in a short folder.
        _temp_dir=str(Path(tempfile.gettempdir()) / "ray"),
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
