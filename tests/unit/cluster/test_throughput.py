"""Sizes over time a node: the clock is the driver's, the figures are those of a sum done by hand."""

from __future__ import annotations

import pytest

from ulmfit_dist.cluster.throughput import Ran, Throughput


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_node_works_from_its_first_start_to_its_last_end() -> None:
    clock = _Clock()
    throughput = Throughput("characters", clock)
    # n1: two actors side by side from 10 to 14 and from 11 to 15, 30 M characters in 5 s; n2: 4 M in 8 s.
    for now, ran, size in (
        (14.0, Ran("n1", 1, 4.0), 10e6),
        (15.0, Ran("n1", 2, 4.0), 20e6),
        (18.0, Ran("n2", 1, 8.0), 4e6),
    ):
        clock.now = now
        throughput.add(ran, size)
    nodes = throughput.as_dict()
    assert nodes["n1"] == {
        "actors": 2,
        "items": 2,
        "characters": 30e6,
        "seconds": 5.0,
        "characters_per_second": pytest.approx(6e6),
    }
    assert nodes["n2"]["characters_per_second"] == pytest.approx(5e5)
    assert throughput.line() == "6.50 M characters/s; n2: 0.50 M, 1 actor; n1: 6.00 M, 2 actors"


def test_of_many_nodes_the_slowest_are_shown() -> None:
    clock = _Clock()
    throughput = Throughput("rows", clock)
    clock.now = 1.0
    for i in range(1, 11):
        throughput.add(Ran(f"n{i:02d}", i, 1.0), i * 1e6)
    line = throughput.line()
    assert line.startswith("55.00 M rows/s; n01: 1.00 M")
    assert "n05" not in line
    assert line.endswith("6 more nodes")


def test_nothing_done_is_a_line_too() -> None:
    assert Throughput("characters").line() == "0.00 M characters/s"
