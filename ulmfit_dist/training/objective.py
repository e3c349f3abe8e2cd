"""The loss of each kind of target, its class weights, and what a validation reports of it.

Targets: class numbers (N,) int64 (multiclass, ordinal), 0 and 1 (N, C) float32 (multilabel), standardised values (N,)
float32 (regression).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from numpy.typing import NDArray
from torch import Tensor

from ulmfit_dist.errors import InputError
from ulmfit_dist.models.targets import TargetKind, log_probabilities

ClassWeights = Literal["none", "balanced", "square_root"]
Targets = NDArray[np.int64] | NDArray[np.float32]
_HALF = 0.5


@dataclass(frozen=True)
class Objective:
    """The loss of one training. `weights`: of the classes (multiclass, ordinal) or of a label's presence; or None."""

    kind: TargetKind
    label_smoothing: float = 0.0
    weights: Tensor | None = None

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss over the documents, as torch weighs its means: by the weights of their classes."""
        weights = None if self.weights is None else self.weights.to(logits)
        if self.kind == "regression":
            return F.mse_loss(logits[:, 0], targets.to(logits))
        if self.kind == "multilabel":
            # Smoothed as classes are: a share of the certainty goes to the other answer of the two.
            smoothed = targets.to(logits) * (1 - self.label_smoothing) + self.label_smoothing / 2
            return F.binary_cross_entropy_with_logits(logits, smoothed, pos_weight=weights)
        scores = logits if self.kind == "multiclass" else log_probabilities(self.kind, logits)
        return F.cross_entropy(scores, targets, weight=weights, label_smoothing=self.label_smoothing)

    def measures(self, logits: Tensor, targets: Tensor) -> dict[str, float]:
        """Return what a validation reports: `loss` without smoothing and weights, and accuracy or r2.

        accuracy: of several labels, the share of right yes-or-no answers at one half.
        """
        loss = float(Objective(self.kind).loss(logits, targets))
        if self.kind == "regression":
            spread = float(((targets - targets.mean()) ** 2).mean())
            return {"loss": loss, "r2": 1 - loss / spread if spread else 0.0}
        if self.kind == "multilabel":
            right = (logits > 0) == (targets > _HALF)
        else:
            right = log_probabilities(self.kind, logits).argmax(1) == targets
        return {"loss": loss, "accuracy": float(right.double().mean())}


def class_weights(kind: TargetKind, targets: Targets, num_labels: int, mode: ClassWeights) -> Tensor | None:
    """Return the weights of classes by their counts in training, or None.

    balanced: N / (C n_c) for classes, absent / present for a label of several; square_root: the roots of these.
    Raises InputError for a regression, which has no classes.
    """
    if mode == "none":
        return None
    if kind == "regression":
        raise InputError("a regression has no class weights", found=f"class_weights = {mode!r}", do='set it to "none"')
    if kind == "multilabel":
        present = np.maximum(targets.sum(0), 1)
        weights = (len(targets) - present) / present
    else:
        weights = len(targets) / (num_labels * np.maximum(np.bincount(targets, minlength=num_labels), 1))
    return torch.from_numpy(np.asarray(weights if mode == "balanced" else np.sqrt(weights), np.float32))
