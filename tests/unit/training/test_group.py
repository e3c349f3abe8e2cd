"""Lanes over ranks, and the group of one. Real ranks are in tests/multiprocess."""

from __future__ import annotations

import pytest
import torch

from ulmfit_dist.training.group import Group


@pytest.mark.parametrize("num_lanes", [1, 2, 7, 64])
@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_lanes_are_split_whole_and_as_evenly_as_they_can(num_lanes: int, world_size: int) -> None:
    parts = [Group(rank, world_size).lanes(num_lanes) for rank in range(world_size)]
    assert [lane for part in parts for lane in part] == list(range(num_lanes))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_group_of_one_changes_nothing() -> None:
    group = Group.current()
    assert group == Group.single() == Group(0, 1)
    values = torch.tensor([1.0, 2.0])
    assert group.total(values) is values
    assert group.gather_lanes(values, 2) is values
    assert group.highest(3, torch.device("cpu")) == 3
    module = torch.nn.Linear(1, 1)
    assert group.wrap(module) is module
    group.barrier()


def test_a_group_of_one_agrees_with_itself_and_leaves_nothing() -> None:
    assert Group.single().agrees("0" * 32, torch.device("cpu"))
    Group.single().leave()
