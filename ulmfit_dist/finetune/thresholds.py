"""From which probability a label of several is given: chosen on the validation split, never on the test split."""

from __future__ import annotations

import numpy as np

from ulmfit_dist.finetune.metrics import Floats, Targets

_HALF = 0.5


def choose_thresholds(probabilities: Floats, targets: Targets) -> list[float]:
    """Return for each label the threshold of the best F1 on these documents: (N, C) each.

    A threshold lies halfway between two probabilities that occur; of equally good ones the nearest to one half is
    taken. A label that no document has, or that all have, says nothing about its threshold: one half.
    """
    return [_best(column, truth) for column, truth in zip(probabilities.T, targets.T, strict=True)]


def _best(scores: Floats, truth: Targets) -> float:
    if truth.min() == truth.max():
        return _HALF
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    given = np.arange(1, len(ranked) + 1)
    f1 = 2 * hits / (given + truth.sum())
    # A threshold between equal scores does not exist.
    ends = np.flatnonzero(np.append(ranked[:-1] > ranked[1:], True))
    middles = (ranked + np.append(ranked[1:], 0.0)) / 2
    return min((-float(f1[end]), abs(float(middles[end]) - _HALF), float(middles[end])) for end in ends)[2]
