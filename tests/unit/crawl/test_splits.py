"""Splits: a function of the words and the seed; and labels that fit."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.crawl.splits import label_problem, split_at, split_numbers, split_of

SHARES = {"train": 0.8, "valid": 0.15, "test": 0.05}


def test_shares_are_kept():
    found = Counter(split_of(f"text number {number}", SHARES, 1) for number in range(20_000))
    for name, share in SHARES.items():
        # Four standard deviations of a binomial.
        assert abs(found[name] - 20_000 * share) < 4 * (20_000 * share * (1 - share)) ** 0.5


def test_equal_words_fall_together_and_key_order_does_not_matter():
    backwards = dict(reversed(SHARES.items()))
    for number in range(200):
        text = f"Text no. {number} says: caf\u00e9"
        same = {split_of(text, SHARES, 1), split_of(text.upper() + "!", SHARES, 1), split_of(text, backwards, 1)}
        assert len(same) == 1


def test_the_seed_changes_the_split():
    texts = [f"text {number}" for number in range(300)]
    assert [split_of(t, SHARES, 1) for t in texts] != [split_of(t, SHARES, 2) for t in texts]


@pytest.mark.parametrize("folds", [2, 3, 10])
def test_rotations_test_every_text_once(folds):
    shares = {"train": 0.9 - 1 / folds, "valid": 0.1, "test": 1 / folds}
    texts = [f"text number {number}" for number in range(3000)]
    tested = Counter(
        text for fold in range(folds) for text in texts if split_of(text, shares, 5, fold / folds) == "test"
    )
    assert tested == Counter(texts)
    found = Counter(split_of(text, shares, 5, 1 / folds) for text in texts)
    for name, share in shares.items():
        assert abs(found[name] - 3000 * share) <= 4 * (3000 * share * (1 - share)) ** 0.5


def test_golden():
    """A change here would move documents between the splits of everybody's runs."""
    assert [split_of(f"text {number}", SHARES, 0) for number in range(8)] == [
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
    ]


def counters(**labels):
    return {split: Counter(text) for split, text in labels.items()}


@pytest.mark.parametrize(
    ("labels", "official", "expected"),
    [
        (counters(train="aabb", valid="ab"), (), None),
        (counters(train="aa", valid="a"), (), "one class only"),
        (counters(train="", valid="ab"), (), "one class only"),
        (counters(train="ab", valid="abc"), (), "labels unseen in training"),
        (counters(train="ab", test="c"), ("test",), "labels unseen in training"),
        (counters(train="ab", valid="a"), (), "misses a class"),
        (counters(train="ab", test="a"), ("test",), None),
        (counters(test="a"), (), None),
        (counters(train=["1\x1f0", "0\x1f0"], valid=["1\x1f1"]), (), None),
        (counters(train=["1\x1f0"], valid=["1\x1f0"]), (), "one class only"),
    ],
)
def test_labels_that_do_not_fit(labels, official, expected):
    problem = label_problem(labels, official)
    assert (problem is None) if expected is None else (problem is not None and expected in problem[0])
    assert problem is None or all(problem)


def test_what_is_no_class_may_differ_from_split_to_split():
    values = counters(train=["1.5", "2.5"], valid=["3.5"], test=["2.5"])
    assert "unseen" in label_problem(values, ("test",))[0]
    assert label_problem(values, (), classes=False) is None
    assert "one class only" in label_problem(counters(train=["1.5"], valid=["2"]), (), classes=False)[0]


@given(places=st.lists(st.integers(0, 2**64 - 1), max_size=20), rotation=st.sampled_from([0.0, 0.3, 0.9]))
def test_many_places_at_once(places, rotation):
    shares = {"train": 0.7, "valid": 0.2, "test": 0.1}
    names = sorted(shares)
    numbers = split_numbers(np.array(places, np.uint64), shares, rotation, names)
    assert [names[number] for number in numbers] == [split_at(place, shares, rotation) for place in places]
