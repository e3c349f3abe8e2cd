"""Which ports of a Ray are open: a process that is named as Ray names its workers."""

from __future__ import annotations

import subprocess
import sys

from ulmfit_dist.cluster.checks.ports import free_port, open_to_all

_LISTENER = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))):
    print("listens", flush=True)
    sys.stdin.read()
"""


def test_only_a_rays_port_on_all_interfaces_counts() -> None:
    ports = [free_port() for _ in range(3)]
    names = ["ray::worker", "ray::worker", "another"]
    addresses = ["0.0.0.0", "127.0.0.1", "0.0.0.0"]
    processes = [
        subprocess.Popen(
            [name, "-c", _LISTENER, address, str(port)],
            executable=sys.executable,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, address, port in zip(names, addresses, ports, strict=True)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "listens\n"
        assert set(open_to_all()) & set(ports) == {ports[0]}
    finally:
        for process in processes:
            process.communicate("")
