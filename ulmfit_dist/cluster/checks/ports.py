"""Ports: a free one, and which of a Ray on this machine listen where."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psutil

_RAY_MARKS = ("raylet", "gcs_server", "ray::", "ray/dashboard", "ray/autoscaler", "ray/util/client")


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def open_to_all() -> list[int]:
    """Return the ports on which a Ray of this machine listens on all interfaces, of the processes that we may see."""
    return sorted({port for address, port in _listening() if address in {"0.0.0.0", "::"}})  # noqa: S104 - looked for


def _listening() -> Iterator[tuple[str, int]]:
    for process in psutil.process_iter(["cmdline"]):
        if any(mark in " ".join(process.info["cmdline"] or []) for mark in _RAY_MARKS):
            try:
                for connection in process.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        yield connection.laddr.ip, connection.laddr.port
            except psutil.Error:
                continue
