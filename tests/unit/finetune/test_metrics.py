"""Metrics against counts done by hand and against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from ulmfit_dist.finetune.metrics import accuracy, class_scores, confusion_matrix, macro_f1, negative_log_likelihood

# Six documents, three classes; by hand: right are documents 0, 2, 3, 5.
LABELS = np.array([0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 1, 1, 1, 0, 2])


def test_hand_case() -> None:
    assert accuracy(LABELS, PREDICTED) == pytest.approx(4 / 6)
    assert confusion_matrix(LABELS, PREDICTED, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    # F1: a 2*1/(2+2) = 1/2; b 2*2/(2+3) = 4/5; c 2*1/(2+1) = 2/3
    assert macro_f1(LABELS, PREDICTED, 3) == pytest.approx((1 / 2 + 4 / 5 + 2 / 3) / 3)
    b = class_scores(confusion_matrix(LABELS, PREDICTED, 3), ["a", "b", "c"])[1]
    assert (b.label, b.precision, b.recall, b.support) == ("b", pytest.approx(2 / 3), 1.0, 2)


def test_equal_to_scikit_learn_with_a_class_that_never_occurs() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    assert macro_f1(labels, predicted, 6) == pytest.approx(sklearn_metrics.f1_score(labels, predicted, average="macro"))
    confusion = confusion_matrix(labels, predicted, 4)
    assert (confusion == sklearn_metrics.confusion_matrix(labels, predicted)).all()
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(labels, predicted)
    for c, score in enumerate(class_scores(confusion, list("abcd"))):
        assert (score.precision, score.recall, score.f1, score.support) == pytest.approx(
            (precision[c], recall[c], f1[c], support[c])
        )


def test_a_class_never_predicted_scores_zero() -> None:
    scores = class_scores(confusion_matrix(np.array([0, 1]), np.array([0, 0]), 2), ["a", "b"])
    assert (scores[1].precision, scores[1].recall, scores[1].f1) == (0, 0, 0)


def test_negative_log_likelihood_by_hand() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    assert negative_log_likelihood(probabilities, np.array([0, 1])) == pytest.approx(
        (math.log(2) + math.log(4 / 3)) / 2
    )
