"""Which pseudo-labels are taken."""

from __future__ import annotations

import numpy as np

from ulmfit_dist.finetune.pseudo import PseudoSettings, choose_pseudo_labels

SURE = np.array([0.99, 0.97, 0.98, 0.96, 0.60, 0.995, 0.97])
CLASSES = np.array([0, 0, 0, 0, 0, 1, 1])
PROBABILITIES = np.where(np.arange(2) == CLASSES[:, None], SURE[:, None], 1 - SURE[:, None])


def test_only_sure_ones_are_taken() -> None:
    chosen = choose_pseudo_labels(PROBABILITIES, np.array([0.5, 0.5]), PseudoSettings(balance=False))
    assert chosen.documents.tolist() == [0, 1, 2, 3, 5, 6]
    assert chosen.classes.tolist() == [0, 0, 0, 0, 1, 1]
    none = choose_pseudo_labels(PROBABILITIES, np.array([0.5, 0.5]), PseudoSettings(confidence=0.999))
    assert none.documents.tolist() == []


def test_the_known_shares_are_kept_with_the_surest_of_each_class() -> None:
    even = choose_pseudo_labels(PROBABILITIES, np.array([0.5, 0.5]), PseudoSettings())
    assert even.documents.tolist() == [0, 2, 5, 6]
    uneven = choose_pseudo_labels(PROBABILITIES, np.array([0.75, 0.25]), PseudoSettings())
    # Four of class 0 allow 1.33 of class 1.
    assert uneven.documents.tolist() == [0, 1, 2, 3, 5]
    absent = choose_pseudo_labels(PROBABILITIES, np.array([1.0, 0.0]), PseudoSettings())
    assert absent.documents.tolist()[:4] == [0, 1, 2, 3]
