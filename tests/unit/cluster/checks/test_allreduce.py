"""A real all-reduce between two processes, and what is said when they do not meet."""

from __future__ import annotations

import pytest

from ulmfit_dist.cluster.checks.allreduce import SLOW_GB_S, between_processes, judged_rate
from ulmfit_dist.cluster.checks.finding import Level


def test_two_processes_meet() -> None:
    finding = between_processes("gloo")
    assert finding.level is not Level.BLOCKS
    assert float(finding.found.split()[0]) > 0
    assert finding.found.endswith("GB/s between 2 processes")


def test_an_interface_that_is_not_there_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "nowhere0")
    finding = between_processes("gloo")
    assert finding.level is Level.BLOCKS
    assert "nowhere0" in finding.found
    assert "GLOO_SOCKET_IFNAME" in finding.do


def test_a_slow_link_is_a_warning() -> None:
    # 240 MB of gradients in a second: the ring sends each byte once and a part of it again, 2 (n-1)/n times in all.
    assert judged_rate("nccl", SLOW_GB_S * 0.99, "here").level is Level.WARNING
    assert judged_rate("nccl", SLOW_GB_S, "here").good
