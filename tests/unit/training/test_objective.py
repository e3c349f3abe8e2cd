"""Losses against plain sums; weights of classes against counts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ulmfit_dist.errors import InputError
from ulmfit_dist.training.objective import Objective, class_weights

LOGITS = torch.tensor([[0.2, -0.4, 1.0], [2.0, 0.1, -1.0]], dtype=torch.float64)


def test_smoothing_spreads_a_share_over_all_classes() -> None:
    log_p = torch.log_softmax(LOGITS, 1)
    for smoothing in (0.0, 0.1):
        wanted = torch.full((2, 3), smoothing / 3, dtype=torch.float64)
        wanted[0, 2] += 1 - smoothing
        wanted[1, 0] += 1 - smoothing
        loss = Objective("multiclass", smoothing).loss(LOGITS, torch.tensor([2, 0]))
        assert float(loss) == pytest.approx(float(-(wanted * log_p).sum(1).mean()))


def test_rare_classes_weigh_more() -> None:
    targets = np.array([0] * 6 + [1] * 3 + [2])
    weights = class_weights("multiclass", targets, 3, "balanced")
    assert weights is not None
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    roots = class_weights("multiclass", targets, 3, "square_root")
    assert roots is not None
    assert roots.tolist() == pytest.approx([math.sqrt(x) for x in (10 / 18, 10 / 9, 10 / 3)])
    assert class_weights("multiclass", targets, 3, "none") is None
    logits = torch.zeros(10, 3, dtype=torch.float64, requires_grad=True)
    Objective("multiclass", 0.0, weights).loss(logits, torch.from_numpy(targets)).backward()
    assert logits.grad is not None
    # Where every class weighs the same in all, a model that knows nothing is pushed nowhere.
    assert logits.grad.sum(0).abs().max() < 1e-7


def test_labels_of_several_weigh_by_who_lacks_them() -> None:
    targets = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.float32)
    weights = class_weights("multilabel", targets, 2, "balanced")
    assert weights is not None
    assert weights.tolist() == pytest.approx([1 / 3, 3.0])
    logits = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    Objective("multilabel", 0.0, weights).loss(logits, torch.from_numpy(targets)).backward()
    assert logits.grad is not None
    assert logits.grad.sum(0).abs().max() < 1e-7


def test_several_labels_are_as_many_yes_or_no_questions() -> None:
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    p = torch.sigmoid(LOGITS)
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()
    assert float(Objective("multilabel").loss(LOGITS, targets)) == pytest.approx(float(expected))
    row = Objective("multilabel").measures(LOGITS, targets)
    # Answers by sign: 1 0 1 and 1 1 0, so four of six are right less one more.
    assert row["accuracy"] == pytest.approx(3 / 6)


def test_a_scale_is_the_steps_that_were_taken() -> None:
    # Class 1 of three: the first step is taken, the second is not.
    loss = Objective("ordinal").loss(LOGITS[:1, :2], torch.tensor([1]))
    expected = -math.log(1 / (1 + math.exp(-0.2))) - math.log(1 - 1 / (1 + math.exp(0.4)))
    assert float(loss) == pytest.approx(expected)
    assert Objective("ordinal").measures(LOGITS[:1, :2], torch.tensor([1]))["accuracy"] in (0.0, 1.0)


def test_a_number_is_missed_by_squares() -> None:
    targets = torch.tensor([0.2, 1.0])
    objective = Objective("regression")
    assert float(objective.loss(LOGITS[:, :1], targets)) == pytest.approx(0.5)
    row = objective.measures(LOGITS[:, :1], targets)
    assert row == {"loss": pytest.approx(0.5), "r2": pytest.approx(1 - 0.5 / 0.16)}
    with pytest.raises(InputError, match="no class weights"):
        class_weights("regression", targets.numpy(), 1, "balanced")


def test_a_validation_is_free_of_smoothing_and_weights() -> None:
    targets = torch.tensor([2, 0])
    plain = Objective("multiclass").measures(LOGITS, targets)
    assert Objective("multiclass", 0.3, torch.tensor([1.0, 2.0, 9.0])).measures(LOGITS, targets) == plain
