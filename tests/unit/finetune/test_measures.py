"""Every measure against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics

from ulmfit_dist.finetune.measures import measures_of, score
from ulmfit_dist.models.targets import TargetConfig

RNG = np.random.default_rng(5)


def _probabilities(targets: np.ndarray, classes: int) -> np.ndarray:
    exponentials = np.exp(RNG.normal(0, 1, (len(targets), classes)) + np.eye(classes)[targets])
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def test_one_of_several_classes() -> None:
    targets = RNG.integers(0, 4, 300)
    given = _probabilities(targets, 4)
    found = score(measures_of("multiclass", 4), given, targets, TargetConfig())
    predicted = given.argmax(1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(targets, predicted))
    assert found["micro_f1"] == pytest.approx(metrics.f1_score(targets, predicted, average="micro"))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(targets, predicted, average="macro"))
    assert found["nll"] == pytest.approx(metrics.log_loss(targets, given))
    assert "roc_auc" not in found
    assert "mae" not in found


def test_one_of_two_classes() -> None:
    targets = RNG.integers(0, 2, 300)
    given = _probabilities(targets, 2)
    found = score(measures_of("multiclass", 2), given, targets, TargetConfig())
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(targets, given[:, 1]))
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(targets, given[:, 1]))
    assert "roc_auc" not in score(measures_of("multiclass", 2), given, targets * 0, TargetConfig())


def test_a_class_on_a_scale() -> None:
    targets = RNG.integers(0, 5, 300)
    given = _probabilities(targets, 5)
    found = score(measures_of("ordinal", 5), given, targets, TargetConfig(kind="ordinal"))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(targets, given.argmax(1)))
    kappa = metrics.cohen_kappa_score(targets, given.argmax(1), weights="quadratic")
    assert found["quadratic_kappa"] == pytest.approx(kappa)
    same = score(measures_of("ordinal", 5), np.eye(5)[targets * 0], targets * 0, TargetConfig(kind="ordinal"))
    assert same["quadratic_kappa"] == 0


def test_several_labels() -> None:
    targets = RNG.integers(0, 2, (300, 3))
    given = np.clip(targets * 0.3 + RNG.random((300, 3)) * 0.7, 0, 1)
    target = TargetConfig(kind="multilabel", thresholds=[0.4, 0.5, 0.8])
    found = score(measures_of("multilabel", 3), given, targets, target)
    predicted = given >= [0.4, 0.5, 0.8]
    assert found["micro_f1"] == pytest.approx(metrics.f1_score(targets, predicted, average="micro"))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(targets, predicted, average="macro"))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(targets, predicted))
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(targets, given, average="macro"))
    assert found["nll"] == pytest.approx(np.mean([metrics.log_loss(targets[:, i], given[:, i]) for i in range(3)]))


def test_values() -> None:
    targets = RNG.normal(3, 2, 300)
    given = (targets + RNG.normal(0, 1, 300))[:, None]
    found = score(measures_of("regression", 1), given, targets, TargetConfig(kind="regression"))
    assert found["r2"] == pytest.approx(metrics.r2_score(targets, given[:, 0]))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(targets, given[:, 0]))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(targets, given[:, 0]))
    assert found["spearman"] == pytest.approx(spearmanr(targets, given[:, 0]).statistic)
    flat = score(measures_of("regression", 1), given, np.full(300, 2.0), TargetConfig(kind="regression"))
    assert flat["spearman"] == 0
    assert np.isfinite(list(flat.values())).all()
