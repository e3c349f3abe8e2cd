"""Thresholds against trying every one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from ulmfit_dist.finetune.thresholds import choose_thresholds


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_is_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((60, 2)) < [0.2, 0.6]).astype(np.int64)
    # Rounded, so that many probabilities are equal.
    given = np.round(np.clip(targets * 0.3 + rng.random((60, 2)) * 0.7, 0, 1), 2)
    for label, threshold in enumerate(choose_thresholds(given, targets)):
        best = f1_score(targets[:, label], given[:, label] >= threshold)
        for other in np.linspace(0, 1, 401):
            assert best >= f1_score(targets[:, label], given[:, label] >= other) - 1e-12


def test_of_equally_good_ones_the_nearest_to_one_half() -> None:
    given = np.array([[0.9], [0.8], [0.2], [0.1]])
    assert choose_thresholds(given, np.array([[1], [1], [0], [0]])) == [0.5]


@pytest.mark.parametrize("all_or_none", [0, 1])
def test_a_label_that_says_nothing_keeps_one_half(all_or_none: int) -> None:
    assert choose_thresholds(np.array([[0.9], [0.1]]), np.full((2, 1), all_or_none)) == [0.5]
