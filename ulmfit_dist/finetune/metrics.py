"""Classification metrics as functions of confusion counts, so that a bootstrap resample is just other counts.

Shapes: N documents, C classes. Labels and predictions are class indices, (N,) int64; probabilities are (N, C) float64.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
# Class indices (N,), 0 and 1 a label (N, C), or values (N,): as the kind of target has them.
Targets = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Precision, recall and F1 of one class, and the number of its documents."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def confusion_matrix(labels: Ints, predicted: Ints, num_classes: int) -> Ints:
    """Count (true class, predicted class) pairs: (C, C), rows are true classes."""
    cells = labels * num_classes + predicted
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def accuracy(labels: Ints, predicted: Ints) -> float:
    """Share of documents whose predicted class is the true one."""
    return float(np.mean(labels == predicted))


def macro_f1(labels: Ints, predicted: Ints, num_classes: int) -> float:
    """Unweighted mean of the classes' F1, over the classes that occur as a label or as a prediction."""
    confusion = confusion_matrix(labels, predicted, num_classes)
    return float(macro_f1_of_counts(np.diag(confusion), confusion.sum(1), confusion.sum(0)))


def macro_f1_of_counts(hits: NDArray[Any], true: NDArray[Any], predicted: NDArray[Any]) -> Floats:
    """Macro F1 from counts per class in the last axis; leading axes are kept. F1 = 2 hits / (true + predicted)."""
    total = np.asarray(true + predicted, dtype=np.float64)
    f1 = np.divide(2.0 * hits, total, out=np.zeros_like(total), where=total > 0)
    occurring = np.maximum((total > 0).sum(-1), 1)
    return np.asarray(f1.sum(-1) / occurring, dtype=np.float64)


def class_scores(confusion: Ints, labels: list[str]) -> list[ClassScore]:
    """Scores of each class; a ratio without a denominator is 0."""
    hits, true, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    return [
        ClassScore(
            label,
            precision=float(hits[c] / max(predicted[c], 1)),
            recall=float(hits[c] / max(true[c], 1)),
            f1=float(2 * hits[c] / max(true[c] + predicted[c], 1)),
            support=int(true[c]),
        )
        for c, label in enumerate(labels)
    ]


def score_rows(confusion: Ints, labels: list[str]) -> list[dict[str, Any]]:
    """`class_scores` as plain JSON rows."""
    return [asdict(score) for score in class_scores(confusion, labels)]


def label_scores(targets: Targets, predicted: Targets, labels: list[str]) -> list[dict[str, Any]]:
    """Scores of each label of several, from targets and predictions (N, C) of 0 and 1, as plain JSON rows."""
    rows = []
    for label, truth, given in zip(labels, targets.T, predicted.T, strict=True):
        score = class_scores(confusion_matrix(truth, given, 2), ["without", label])[1]
        rows.append(asdict(score))
    return rows


def negative_log_likelihood(probabilities: Floats, labels: Ints) -> float:
    """Mean negative natural logarithm of the probability given to the true class."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())
