"""Temperature scaling and calibration error against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from ulmfit_dist.finetune.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    apply_temperature,
    calibration_bins,
    expected_calibration_error,
    fit_temperature,
)
from ulmfit_dist.finetune.metrics import negative_log_likelihood


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def drawn_labels(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random((len(probabilities), 1)) > probabilities.cumsum(1)).sum(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 2
    labels = drawn_labels(softmax(logits), rng)
    told = softmax(logits * temperature)  # a model that is over- or under-confident by that factor
    assert fit_temperature(told, labels) == pytest.approx(temperature, rel=0.05)
    assert apply_temperature(told, temperature) == pytest.approx(softmax(logits), abs=1e-12)


def test_no_other_temperature_is_likelier() -> None:
    rng = np.random.default_rng(1)
    probabilities = softmax(rng.normal(size=(200, 4)) * 3)
    labels = drawn_labels(softmax(rng.normal(size=(200, 4)) + np.log(probabilities) / 2), rng)
    best = fit_temperature(probabilities, labels)
    loss = negative_log_likelihood(apply_temperature(probabilities, best), labels)
    for other in np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, 101):
        assert loss <= negative_log_likelihood(apply_temperature(probabilities, other), labels) + 1e-12


def test_bounds_when_the_model_is_always_or_never_right() -> None:
    probabilities = np.array([[0.9, 0.1]] * 5)
    # Below 0.055 the other class has no probability left in a float, and the slope is flat.
    assert MIN_TEMPERATURE <= fit_temperature(probabilities, np.zeros(5, dtype=np.int64)) < 0.055
    assert fit_temperature(probabilities, np.ones(5, dtype=np.int64)) == pytest.approx(MAX_TEMPERATURE)


def test_certain_and_wrong_stays_finite() -> None:
    tempered = apply_temperature(np.array([[1.0, 0.0]]), 2.0)
    assert np.isfinite(tempered).all()
    assert tempered.sum() == pytest.approx(1)


def test_calibration_error_by_hand() -> None:
    # Two bins of ten: (0.5, 0.6] holds two documents, one right; (0.9, 1.0] holds two, both right.
    probabilities = np.array([[0.6, 0.4], [0.4, 0.6], [0.95, 0.05], [1.0, 0.0]])
    labels = np.array([0, 0, 0, 0])
    bins = calibration_bins(probabilities, labels, num_bins=10)
    assert [(b.documents, b.accuracy) for b in bins] == [(2, 0.5), (2, 1.0)]
    assert [b.confidence for b in bins] == pytest.approx([0.6, 0.975])
    by_hand = (2 * abs(0.6 - 0.5) + 2 * abs(0.975 - 1.0)) / 4
    assert expected_calibration_error(probabilities, labels, num_bins=10) == pytest.approx(by_hand)
