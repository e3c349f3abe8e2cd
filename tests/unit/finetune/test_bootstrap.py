"""Intervals against the binomial distribution and against a plain resampling loop."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import f1_score

from ulmfit_dist.finetune.bootstrap import BootstrapSettings, Interval, PairedDifference, paired
from ulmfit_dist.finetune.bootstrap import intervals as intervals_of
from ulmfit_dist.finetune.measures import OneClass
from ulmfit_dist.finetune.metrics import Ints

SETTINGS = BootstrapSettings(resamples=4000, seed=3)


def intervals(labels: Ints, predicted: Ints, classes: int, settings: BootstrapSettings) -> tuple[Interval, Interval]:
    measures = OneClass(classes)
    found = intervals_of(measures.rows(labels, predicted), measures.statistics, settings)
    return found["accuracy"], found["macro_f1"]


def paired_accuracy(labels: Ints, a: Ints, b: Ints, settings: BootstrapSettings) -> PairedDifference:
    measures = OneClass(2)
    rows = measures.rows(labels, a), measures.rows(labels, b)
    return paired(*rows, lambda sums: measures.statistics(sums)["accuracy"], settings)


def test_accuracy_interval_is_the_binomials() -> None:
    labels = np.zeros(400, dtype=np.int64)
    predicted = np.concatenate([np.zeros(320), np.ones(80)]).astype(np.int64)
    accuracy, _ = intervals(labels, predicted, 2, SETTINGS)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)  # a resample's accuracy is Binomial(400, 0.8) / 400
    assert accuracy.value == pytest.approx(0.8)
    assert accuracy.low == pytest.approx(0.8 - half, abs=0.005)
    assert accuracy.high == pytest.approx(0.8 + half, abs=0.005)


def test_macro_f1_interval_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 90)
    predicted = np.where(rng.random(90) < 0.7, labels, rng.integers(0, 3, 90))
    _, f1 = intervals(labels, predicted, 3, SETTINGS)
    plain = []
    for _ in range(600):
        chosen = rng.integers(0, 90, 90)
        plain.append(f1_score(labels[chosen], predicted[chosen], average="macro"))
    assert f1.value == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert [f1.low, f1.high] == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.02)


def test_the_seed_decides() -> None:
    labels, predicted = np.arange(50) % 2, np.arange(50) % 3 % 2
    first = intervals(labels, predicted, 2, SETTINGS)
    assert first == intervals(labels, predicted, 2, SETTINGS)
    other = intervals(labels, predicted, 2, BootstrapSettings(resamples=1001, seed=4, level=0.5))
    assert other[0].low > first[0].low


def test_paired_difference_uses_the_pairing() -> None:
    labels = np.zeros(200, dtype=np.int64)
    a = labels.copy()
    a[:40] = 1  # wrong on 40
    b = a.copy()
    b[40:50] = 1  # wrong on the same 40 and 10 more: every difference has one sign
    result = paired_accuracy(labels, a, b, SETTINGS)
    assert result.difference == pytest.approx(0.05)
    # A difference is Binomial(200, 10/200) / 200, far narrower than two independent accuracies.
    half = 1.96 * np.sqrt(0.05 * 0.95 / 200)
    assert result.low == pytest.approx(0.05 - half, abs=0.01)
    assert result.high == pytest.approx(0.05 + half, abs=0.01)
    assert result.p_value < 0.01


def test_equal_systems_do_not_differ() -> None:
    labels, same = np.zeros(50, dtype=np.int64), np.arange(50) % 2
    assert paired_accuracy(labels, same, same, SETTINGS).p_value == 1.0


def test_too_few_resamples_are_refused() -> None:
    with pytest.raises(ValidationError):
        BootstrapSettings(resamples=10)


def test_a_mean_of_distinct_values_has_the_interval_of_the_central_limit() -> None:
    rows = np.random.default_rng(2).normal(3, 2, (500, 1))
    found = intervals_of(
        np.concatenate([rows, np.ones((500, 1))], 1), lambda sums: {"mean": sums[:, 0] / sums[:, 1]}, SETTINGS
    )
    half = 1.96 * rows.std() / np.sqrt(500)
    assert found["mean"].value == pytest.approx(rows.mean())
    assert found["mean"].low == pytest.approx(rows.mean() - half, abs=0.02)
    assert found["mean"].high == pytest.approx(rows.mean() + half, abs=0.02)
