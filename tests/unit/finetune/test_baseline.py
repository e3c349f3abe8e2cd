"""The baseline against a plain scikit-learn pipeline, and its choice of C."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ulmfit_dist.finetune.baseline import BaselineSettings, LabelledTexts, fit_baseline

GOOD, BAD = (
    ["great fun", "a great film", "I liked it", "not bad"],
    ["awful mess", "a bad film", "I hated it", "not great"],
)
TRAIN = LabelledTexts(GOOD + BAD, np.array([0] * 4 + [1] * 4))
VALID = LabelledTexts(["great fun film", "an awful film"], np.array([0, 1]))


def test_one_strength_equals_the_plain_pipeline() -> None:
    baseline = fit_baseline(TRAIN, VALID, 2, BaselineSettings(strengths=(3.0,)))
    plain = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\b\w+\b", sublinear_tf=True), LogisticRegression(C=3.0)
    ).fit(TRAIN.texts, TRAIN.labels)
    texts = ["I liked great fun", "", "не знаю"]
    assert baseline.predict(texts) == pytest.approx(plain.predict_proba(texts), abs=1e-6)
    assert baseline.predict([]).shape == (0, 2)


def test_the_strength_is_the_best_one_on_validation() -> None:
    settings = BaselineSettings(strengths=(1e-4, 1.0, 10.0))
    noisy = LabelledTexts(["great", "awful", "a film", "not bad"], np.array([0, 1, 1, 0]))
    chosen = fit_baseline(TRAIN, noisy, 2, settings)
    singles = [fit_baseline(TRAIN, noisy, 2, BaselineSettings(strengths=(c,))) for c in settings.strengths]
    assert chosen.valid_accuracy == max(single.valid_accuracy for single in singles)
    assert chosen.strength in [s.strength for s in singles if s.valid_accuracy == chosen.valid_accuracy]


def test_a_class_without_training_text_gets_no_probability() -> None:
    train = LabelledTexts(TRAIN.texts, np.where(TRAIN.labels == 1, 2, 0))
    probabilities = fit_baseline(train, LabelledTexts(["fun"], np.array([0])), 3, BaselineSettings()).predict(
        ["a mess"]
    )
    assert probabilities[0, 1] == 0
    assert probabilities.sum() == pytest.approx(1)
