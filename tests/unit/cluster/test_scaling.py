"""What an autoscaling cluster is asked for: GPU by GPU, again while it is needed, and nothing at the end."""

from __future__ import annotations

from typing import Any

import pytest

from ulmfit_dist.cluster import scaling
from ulmfit_dist.cluster.ledger import Capacity
from ulmfit_dist.cluster.scaling import Growth, bundles

TWO = [Capacity(2, 2)]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []

    def record(*, bundles: list[dict[str, float]]) -> None:
        made.append(bundles)

    monkeypatch.setattr(scaling, "request_resources", record)
    return made


def test_a_stage_is_asked_for_gpu_by_gpu() -> None:
    one = {"CPU": 2.0, "GPU": 1.0}
    assert bundles([Capacity(8, 4), Capacity(1, 0.5)]) == [one] * 4 + [{"CPU": 1.0, "GPU": 0.5}]


def test_a_request_is_made_once_repeated_and_withdrawn(requests: list[Any]) -> None:
    growth = Growth(600)
    growth.ask([], 0.0)
    assert requests == [], "nothing is wanted and nothing was asked for"
    for now in (1.0, 2.0, 30.0):
        growth.ask(TWO, now)
    assert requests == [[{"CPU": 1.0, "GPU": 1.0}] * 2]
    growth.ask(TWO, 31.0)  # another run may have replaced it
    assert requests == [[{"CPU": 1.0, "GPU": 1.0}] * 2] * 2
    growth.ask([], 32.0)
    growth.ask(TWO, 33.0)
    growth.withdraw()
    assert requests[2:] == [[], [{"CPU": 1.0, "GPU": 1.0}] * 2, []]
    growth.withdraw()
    assert len(requests) == 5


def test_what_does_not_come_in_time_is_known_whatever_else_is_asked_for(requests: list[Any]) -> None:
    growth = Growth(600)
    growth.ask(TWO, 0.0)
    growth.ask([*TWO, *TWO], 500.0)
    assert not growth.came_to_nothing(600.0)
    assert growth.came_to_nothing(601.0)


def test_a_cluster_that_stays_as_it_is_is_asked_for_nothing(requests: list[Any]) -> None:
    growth = Growth(0)
    growth.ask(TWO, 0.0)
    growth.withdraw()
    assert not growth.possible
    assert requests == []
