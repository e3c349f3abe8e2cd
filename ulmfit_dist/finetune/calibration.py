"""Are the probabilities true? Temperature scaling and expected calibration error (Guo et al. 2017, sections 2 and 4.2).

A temperature T divides the logits; softmax(log p / T) is the same thing, since softmax ignores a constant. It moves
confidences and never changes which class wins.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ulmfit_dist.finetune.metrics import Floats, Ints, Targets
from ulmfit_dist.models.targets import TargetKind

# A validation set that the model gets wholly right has its optimum at T = 0, a useless model at T = infinity.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
_BISECTIONS = 60
NUM_BINS = 15  # Guo et al. 2017, section 5


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Documents whose confidence lies in (low, high]: how sure the model was and how often it was right."""

    low: float
    high: float
    documents: int
    confidence: float
    accuracy: float


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Return softmax(log p / T): (N, C)."""
    logits = _log(probabilities) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float64)


def fit_temperature(probabilities: Floats, labels: Ints) -> float:
    """Return the temperature with the least negative log-likelihood, within [0.05, 20].

    The likelihood is convex in b = 1/T and its slope is the mean of E_p[z] - z_label with p = softmax(b z),
    which only grows with b: the optimum is found by halving the interval of log b.
    """
    logits = _log(probabilities)
    chosen = logits[np.arange(len(labels)), labels]
    low, high = -np.log(MAX_TEMPERATURE), -np.log(MIN_TEMPERATURE)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        tempered = apply_temperature(probabilities, float(np.exp(-middle)))
        if ((tempered * logits).sum(1) - chosen).mean() < 0:
            low = middle
        else:
            high = middle
    return float(np.exp(-(low + high) / 2))


def calibrate(kind: TargetKind, predictions: Floats, temperature: float) -> Floats:
    """Return predictions (N, C) at a temperature: of several labels, each yes-or-no answer by itself."""
    if kind == "regression":
        return predictions
    if kind == "multilabel":
        return apply_temperature(as_answers(predictions), temperature)[:, 1].reshape(predictions.shape)
    return apply_temperature(predictions, temperature)


def best_temperature(kind: TargetKind, predictions: Floats, targets: Targets) -> float:
    """Return the temperature that `calibrate` should have, fitted on these documents; 1 for a regression."""
    if kind == "regression":
        return 1.0
    if kind == "multilabel":
        return fit_temperature(as_answers(predictions), targets.ravel())
    return fit_temperature(predictions, targets)


def as_answers(probabilities: Floats) -> Floats:
    """Return several labels' probabilities (N, C) as the classes no and yes of N * C questions: (N * C, 2)."""
    yes = probabilities.ravel()
    return np.stack([1 - yes, yes], axis=1)


def calibration_bins(probabilities: Floats, labels: Ints, num_bins: int = NUM_BINS) -> list[CalibrationBin]:
    """Sort documents by the probability of their predicted class into equal-width bins; empty bins are left out."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    bins = []
    for index in np.unique(bin_of):
        inside = bin_of == index
        bins.append(
            CalibrationBin(
                low=float(index / num_bins),
                high=float((index + 1) / num_bins),
                documents=int(inside.sum()),
                confidence=float(confidence[inside].mean()),
                accuracy=float(right[inside].mean()),
            )
        )
    return bins


def expected_calibration_error(probabilities: Floats, labels: Ints, num_bins: int = NUM_BINS) -> float:
    """Mean distance of confidence from accuracy over the bins, weighted by documents (Guo et al. 2017, eq. 3)."""
    bins = calibration_bins(probabilities, labels, num_bins)
    return sum(b.documents * abs(b.confidence - b.accuracy) for b in bins) / len(labels)


def bin_rows(probabilities: Floats, labels: Ints) -> list[dict[str, Any]]:
    """`calibration_bins` as plain JSON rows."""
    return [asdict(row) for row in calibration_bins(probabilities, labels)]


def _log(probabilities: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)), dtype=np.float64)
