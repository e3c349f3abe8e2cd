"""What scores mean: probabilities that are whole, and on a scale know its order."""

from __future__ import annotations

import pytest
import torch

from ulmfit_dist.models.targets import TargetConfig, log_probabilities, num_labels, num_outputs, predictions

LOGITS = torch.tensor([[0.3, -1.2, 2.0], [-4.0, 0.0, 1.0]], dtype=torch.float64)


def test_on_a_scale_each_step_is_taken_or_not() -> None:
    steps = torch.sigmoid(LOGITS)
    for row, chances in zip(log_probabilities("ordinal", LOGITS).exp(), steps, strict=True):
        a, b, c = chances.tolist()
        assert row.tolist() == pytest.approx([1 - a, a * (1 - b), a * b * (1 - c), a * b * c])
        assert float(row.sum()) == pytest.approx(1)


def test_a_higher_step_moves_probability_upwards_only() -> None:
    below = log_probabilities("ordinal", LOGITS).exp().cumsum(1)
    above = log_probabilities("ordinal", LOGITS + torch.tensor([0.0, 0.7, 0.0])).exp().cumsum(1)
    assert (above <= below + 1e-12).all()
    assert (above[:, 1] < below[:, 1]).all()


def test_extreme_scores_stay_finite() -> None:
    logits = torch.tensor([[500.0, -500.0, 500.0]])
    for kind in ("multiclass", "ordinal", "multilabel"):
        assert torch.isfinite(predictions(kind, logits)).all()  # type: ignore[arg-type]
    assert torch.isfinite(log_probabilities("ordinal", logits)).all()


def test_several_labels_and_values() -> None:
    torch.testing.assert_close(predictions("multilabel", LOGITS), 1 / (1 + (-LOGITS).exp()))
    assert torch.equal(predictions("regression", LOGITS[:, :1]), LOGITS[:, :1])
    torch.testing.assert_close(predictions("multiclass", LOGITS), torch.softmax(LOGITS, 1))


@pytest.mark.parametrize(("kind", "outputs"), [("multiclass", 4), ("multilabel", 4), ("ordinal", 3), ("regression", 4)])
def test_outputs_and_labels(kind: str, outputs: int) -> None:
    assert num_outputs(kind, 4) == outputs  # type: ignore[arg-type]
    assert num_labels(kind, outputs) == 4  # type: ignore[arg-type]


def test_a_scale_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        TargetConfig(kind="regression", scale=0)
