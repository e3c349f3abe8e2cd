"""What a classifier's scores mean: one class, several labels at once, a class on a scale, or a number.

Shapes: N documents, O outputs of the head, C labels. A regression has one label, its value.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from pydantic import Field
from torch import Tensor

from ulmfit_dist.config import Settings

TargetKind = Literal["multiclass", "multilabel", "ordinal", "regression"]


class TargetConfig(Settings):
    """What a trained classifier predicts, as its folder records it."""

    kind: TargetKind = "multiclass"
    separator: str = Field(default="", description="several labels in one column: what stands between them")
    thresholds: list[float] = Field(default=[], description="several labels: from which probability each one is given")
    center: float = Field(default=0.0, description="regression: mean of the training values")
    scale: float = Field(default=1.0, gt=0, description="regression: standard deviation of the training values")


def num_outputs(kind: TargetKind, num_labels: int) -> int:
    """Return how many outputs the head needs: a scale of C classes has C - 1 steps."""
    return num_labels - 1 if kind == "ordinal" else num_labels


def num_labels(kind: TargetKind, outputs: int) -> int:
    """Return how many labels a head of so many outputs scores: the inverse of `num_outputs`."""
    return outputs + 1 if kind == "ordinal" else outputs


def log_probabilities(kind: TargetKind, logits: Tensor) -> Tensor:
    """Return log p (N, C) of classes that exclude each other, from the logits (N, O).

    ordinal: output k is the logit of going beyond class k once there (continuation ratios; Shi, Cao and Raschka 2021
    train the same conditional steps), so probabilities are whole and never negative, and the order is known to them.
    """
    if kind == "multiclass":
        return F.log_softmax(logits, dim=1)
    reached = F.pad(F.logsigmoid(logits).cumsum(1), (1, 0))
    stays = F.pad(F.logsigmoid(-logits), (0, 1))
    return reached + stays


def predictions(kind: TargetKind, logits: Tensor) -> Tensor:
    """Return probabilities (N, C), or for a regression the standardised value (N, 1)."""
    if kind == "multilabel":
        return torch.sigmoid(logits)
    return logits if kind == "regression" else log_probabilities(kind, logits).exp()
