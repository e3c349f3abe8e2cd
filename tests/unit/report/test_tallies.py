"""Tallies: whatever the order, the same; over their bound they say what they may have missed."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from ulmfit_dist.report.tallies import Heaviest, LargestClusters, Lengths, Samples


def test_percentiles_of_small_numbers_are_exact() -> None:
    lengths = Lengths()
    lengths.add(np.array([1, 2, 3]))
    lengths.add(np.arange(4, 101))
    assert lengths.percentiles((0.0, 0.05, 0.25, 0.5, 1.0)) == [1, 5, 25, 50, 100]
    assert Lengths().percentiles((0.5,)) == [0]


def test_percentiles_of_large_numbers_are_a_little_low() -> None:
    rng = np.random.default_rng(0)
    numbers = np.exp(rng.uniform(0, 20, 10_001)).astype(np.int64)
    lengths = Lengths()
    lengths.add(numbers)
    ordered = np.sort(numbers)
    for share in (0.05, 0.5, 0.95):
        exact = ordered[int(np.ceil(share * len(ordered))) - 1]
        assert exact * 0.998 <= lengths.percentiles((share,))[0] <= exact


def test_samples_do_not_depend_on_the_order() -> None:
    keys = [f"{i:032x}" for i in range(500)]
    drawn = []
    for seed in (1, 2):
        random.Random(seed).shuffle(keys)
        samples = Samples(3, seed=7)
        for key in keys:
            samples.add(("en", ""), key, lambda key=key: key)  # type: ignore[misc]
        drawn.append(samples.of(("en", "")))
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 3
    assert samples.of(("de", "")) == []


def test_each_key_is_drawn_as_often_as_another() -> None:
    drawn: Counter[str] = Counter()
    for seed in range(400):
        samples = Samples(1, seed)
        for key in "abcd":
            samples.add((), key, lambda key=key: key)  # type: ignore[misc]
        drawn.update(samples.of(()))
    assert all(60 < drawn[key] < 140 for key in "abcd"), drawn


def test_of_few_names_the_weights_are_exact() -> None:
    heaviest = Heaviest(10)
    for name, weight in (("a", 3), ("b", 5), ("a", 4), ("c", 5)):
        heaviest.add(name, weight)
    assert heaviest.most(2) == [("a", 7, 2), ("b", 5, 1)]
    assert (len(heaviest), heaviest.slack) == (3, 0)


def test_over_its_room_a_heavy_name_is_not_missed() -> None:
    names = ["heavy"] * 3000 + [f"light{i}" for i in range(9000)]
    random.Random(0).shuffle(names)
    heaviest = Heaviest(100)
    for name in names:
        heaviest.add(name, 1)
    ((name, weight, _),) = heaviest.most(1)
    assert name == "heavy"
    assert 0 < heaviest.slack <= 12_000 / 50
    assert 3000 - heaviest.slack <= weight <= 3000


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_clusters_miss_no_member(seed: int) -> None:
    sizes = {f"{i:02d}": 2 + i % 7 for i in range(30)}
    members = [(name, f"{name}-{i}" if i else name) for name, size in sizes.items() for i in range(size)]
    random.Random(seed).shuffle(members)
    clusters = LargestClusters(4, members=2)
    for name, key in members:
        clusters.add(name, sizes[name], (key, "" if key == name else "near_duplicate"), lambda key=key: key)  # type: ignore[misc]
    found = clusters.largest()
    assert [name for name, _ in found] == ["06", "13", "20", "27"]
    for name, cluster in found:
        assert cluster.fates == {"": 1, "near_duplicate": 7}
        assert [shown for *_, shown in cluster.members] == [name, f"{name}-1"], "the kept one first"
