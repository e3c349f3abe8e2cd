"""What is measured of each kind of target, as functions of sums over documents (bootstrap.py) and of probabilities.

Shapes: N documents, C labels, R resamples, K sums. `headline` names the measures of the tables, the first of which
compares systems.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ulmfit_dist.finetune.calibration import as_answers, expected_calibration_error
from ulmfit_dist.finetune.metrics import Floats, Targets, macro_f1_of_counts, negative_log_likelihood
from ulmfit_dist.models.targets import TargetConfig, TargetKind

_HALF = 0.5


class Measures(Protocol):
    """The measures of one kind of target."""

    headline: ClassVar[tuple[str, ...]]

    def predicted(self, predictions: Floats, target: TargetConfig) -> Targets:
        """Return what is predicted, in the form of the targets."""

    def rows(self, targets: Targets, predicted: Targets) -> Floats:
        """Return what a document adds to the sums: (N, K)."""

    def statistics(self, sums: Floats) -> dict[str, Floats]:
        """Return each measure (R,) from sums (R, K)."""

    def scores(self, predictions: Floats, targets: Targets) -> dict[str, float]:
        """Return the measures of the probabilities (or values) themselves."""


@dataclass(frozen=True)
class OneClass:
    """One class a document; on a scale (`ordinal`) also how far off."""

    num_classes: int
    ordinal: bool = False
    headline: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "micro_f1")

    def predicted(self, predictions: Floats, target: TargetConfig) -> Targets:  # noqa: ARG002 - of the protocol
        """Return the likeliest class: (N,)."""
        return np.asarray(predictions.argmax(1), dtype=np.int64)

    def rows(self, targets: Targets, predicted: Targets) -> Floats:
        """Return hits, labels and predictions of each class, and the distance: (N, 3C + 1)."""
        true, given = (np.eye(self.num_classes)[chosen] for chosen in (targets, predicted))
        return np.concatenate([true * given, true, given, np.abs(targets - predicted)[:, None]], axis=1)

    def statistics(self, sums: Floats) -> dict[str, Floats]:
        """Return accuracy, macro F1, micro F1 (which of one class is the accuracy), and of a scale the mean error."""
        hits, true, given = (sums[:, i * self.num_classes : (i + 1) * self.num_classes] for i in range(3))
        accuracy = hits.sum(1) / true.sum(1)
        found = {"accuracy": accuracy, "macro_f1": macro_f1_of_counts(hits, true, given), "micro_f1": accuracy}
        return found | ({"mae": sums[:, -1] / true.sum(1)} if self.ordinal else {})

    def scores(self, predictions: Floats, targets: Targets) -> dict[str, float]:
        """Return nll, ece; of two classes the areas under ROC and precision-recall; of a scale quadratic kappa."""
        from sklearn import metrics

        found = {
            "nll": negative_log_likelihood(predictions, targets),
            "ece": expected_calibration_error(predictions, targets),
        }
        if self.num_classes == 2 and len(np.unique(targets)) == 2:
            found["roc_auc"] = float(metrics.roc_auc_score(targets, predictions[:, 1]))
            found["average_precision"] = float(metrics.average_precision_score(targets, predictions[:, 1]))
        if self.ordinal:
            classes = list(range(self.num_classes))
            kappa = metrics.cohen_kappa_score(targets, predictions.argmax(1), labels=classes, weights="quadratic")
            # Without any spread kappa is 0 / 0: agreement no better than chance.
            found["quadratic_kappa"] = float(np.nan_to_num(kappa))
        return found


@dataclass(frozen=True)
class SeveralLabels:
    """Any number of labels a document, each given from its threshold on."""

    num_classes: int
    headline: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "accuracy")

    def predicted(self, predictions: Floats, target: TargetConfig) -> Targets:
        """Return which labels are given: (N, C) of 0 and 1."""
        return np.asarray(predictions >= np.array(target.thresholds or [_HALF] * self.num_classes), dtype=np.int64)

    def rows(self, targets: Targets, predicted: Targets) -> Floats:
        """Return hits, labels and predictions of each label, whether all are right, and one: (N, 3C + 2)."""
        exact = (targets == predicted).all(1)[:, None]
        return np.concatenate([targets * predicted, targets, predicted, exact, np.ones_like(exact)], axis=1).astype(
            np.float64
        )

    def statistics(self, sums: Floats) -> dict[str, Floats]:
        """Return micro F1, macro F1, and the share of documents whose labels are all right."""
        hits, true, given = (sums[:, i * self.num_classes : (i + 1) * self.num_classes] for i in range(3))
        micro = 2 * hits.sum(1) / np.maximum((true + given).sum(1), 1)
        return {
            "micro_f1": micro,
            "macro_f1": macro_f1_of_counts(hits, true, given),
            "accuracy": sums[:, -2] / sums[:, -1],
        }

    def scores(self, predictions: Floats, targets: Targets) -> dict[str, float]:
        """Return nll and ece a yes-or-no answer, and the mean over labels of the average precision."""
        from sklearn import metrics

        occurring = targets.any(0)
        answers = as_answers(predictions), targets.ravel()
        found = {"nll": negative_log_likelihood(*answers), "ece": expected_calibration_error(*answers)}
        if occurring.any():
            pairs = zip(targets.T[occurring], predictions.T[occurring], strict=True)
            found["average_precision"] = float(np.mean([metrics.average_precision_score(*pair) for pair in pairs]))
        return found


@dataclass(frozen=True)
class Number:
    """A value a document."""

    headline: ClassVar[tuple[str, ...]] = ("r2", "mae", "rmse")

    def predicted(self, predictions: Floats, target: TargetConfig) -> Targets:  # noqa: ARG002 - of the protocol
        """Return the value: (N,)."""
        return predictions[:, 0]

    def rows(self, targets: Targets, predicted: Targets) -> Floats:
        """Return one, the value, its square, and the error's size and square: (N, 5)."""
        error = targets - predicted
        return np.stack([np.ones_like(error), targets, targets**2, np.abs(error), error**2], axis=1)

    def statistics(self, sums: Floats) -> dict[str, Floats]:
        """Return r2, mean absolute error and root mean squared error."""
        count, value, square, size, error = sums.T
        spread = square - value**2 / count
        # Of values that are all the same nothing can be explained.
        r2 = 1 - np.divide(error, spread, out=np.ones_like(error), where=spread > 0)
        return {"r2": r2, "mae": size / count, "rmse": np.sqrt(error / count)}

    def scores(self, predictions: Floats, targets: Targets) -> dict[str, float]:
        """Return the rank correlation (Spearman)."""
        from scipy.stats import spearmanr

        values = predictions[:, 0]
        varied = np.ptp(values) > 0 and np.ptp(targets) > 0
        return {"spearman": float(spearmanr(targets, values).statistic) if varied else 0.0}


def measures_of(kind: TargetKind, num_labels: int) -> Measures:
    """Return the measures of a kind of target."""
    if kind == "multilabel":
        return SeveralLabels(num_labels)
    return Number() if kind == "regression" else OneClass(num_labels, ordinal=kind == "ordinal")


def score(measures: Measures, predictions: Floats, targets: Targets, target: TargetConfig) -> dict[str, float]:
    """Return every measure of these predictions, without intervals."""
    sums = measures.rows(targets, measures.predicted(predictions, target)).sum(0, keepdims=True)
    found = {name: float(values[0]) for name, values in measures.statistics(sums).items()}
    return found | measures.scores(predictions, targets)
