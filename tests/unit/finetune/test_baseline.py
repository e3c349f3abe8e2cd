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
    baseline = fit_baseline("multiclass", TRAIN, VALID, 2, BaselineSettings(strengths=(3.0,)))
    plain = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\b\w+\b", sublinear_tf=True), LogisticRegression(C=3.0)
    ).fit(TRAIN.texts, TRAIN.targets)
    texts = ["I liked great fun", "", "не знаю"]
    assert baseline.predict(texts) == pytest.approx(plain.predict_proba(texts), abs=1e-6)
    assert baseline.predict([]).shape == (0, 2)


def test_the_strength_is_the_best_one_on_validation() -> None:
    settings = BaselineSettings(strengths=(1e-4, 1.0, 10.0))
    noisy = LabelledTexts(["great", "awful", "a film", "not bad"], np.array([0, 1, 1, 0]))
    chosen = fit_baseline("multiclass", TRAIN, noisy, 2, settings)
    singles = [
        fit_baseline("multiclass", TRAIN, noisy, 2, BaselineSettings(strengths=(c,))) for c in settings.strengths
    ]
    assert chosen.valid_score == max(single.valid_score for single in singles)
    assert chosen.strength in [s.strength for s in singles if s.valid_score == chosen.valid_score]


def test_a_class_without_training_text_gets_no_probability() -> None:
    train = LabelledTexts(TRAIN.texts, np.where(TRAIN.targets == 1, 2, 0))
    probabilities = fit_baseline(
        "multiclass", train, LabelledTexts(["fun"], np.array([0])), 3, BaselineSettings()
    ).predict(["a mess"])
    assert probabilities[0, 1] == 0
    assert probabilities.sum() == pytest.approx(1)


def test_several_labels_have_a_regression_each() -> None:
    fun = np.array([[1, 0], [1, 1], [1, 0], [1, 0], [0, 0], [0, 1], [0, 0], [0, 1]])
    train, valid = LabelledTexts(TRAIN.texts, fun), LabelledTexts(VALID.texts, np.array([[1, 0], [0, 1]]))
    baseline = fit_baseline("multilabel", train, valid, 2, BaselineSettings(strengths=(3.0,)))
    for label in range(2):
        plain = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\b\w+\b", sublinear_tf=True), LogisticRegression(C=3.0)
        ).fit(TRAIN.texts, fun[:, label])
        assert baseline.predict(GOOD)[:, label] == pytest.approx(plain.predict_proba(GOOD)[:, 1], abs=1e-6)
    assert baseline.measure == "micro_f1"


def test_values_have_a_ridge_regression() -> None:
    values = np.array([4.0, 5, 4, 3, 1, 2, 1, 2])
    train, valid = LabelledTexts(TRAIN.texts, values), LabelledTexts(VALID.texts, np.array([4.5, 1.5]))
    baseline = fit_baseline("regression", train, valid, 1, BaselineSettings())
    guesses = baseline.predict(VALID.texts)[:, 0]
    assert guesses[0] > 3 > guesses[1]
    assert baseline.measure == "r2"
