"""The simple classifier that everything here is measured against: tf-idf of word 1-2-grams and logistic regression.

It sees the same training documents, its one free setting is chosen on the same validation documents, and it is never
left out: at a few thousand short texts it may well win, and then the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.finetune.metrics import Floats, Ints, accuracy, negative_log_likelihood

_WORD = r"(?u)\b\w+\b"


class BaselineSettings(Settings):
    """How the baseline is fitted."""

    strengths: tuple[float, ...] = Field(
        default=(0.1, 1.0, 3.0, 10.0, 30.0, 100.0),
        min_length=1,
        description="values of C tried on the validation split",
    )
    max_features: int = Field(default=300_000, ge=1, description="most frequent 1-2-grams kept")
    max_iterations: int = Field(default=1000, ge=1, description="bound on the solver's iterations")


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fitted baseline: `strength` is the C that won on the validation split."""

    vectorizer: Any
    regression: Any
    num_classes: int
    strength: float
    valid_accuracy: float

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return class probabilities in input order: (N, C)."""
        out = np.zeros((len(texts), self.num_classes))
        if texts:
            out[:, self.regression.classes_] = self.regression.predict_proba(self.vectorizer.transform(texts))
        return out


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Texts with the index of each one's class."""

    texts: list[str]
    labels: Ints


def fit_baseline(train: LabelledTexts, valid: LabelledTexts, num_classes: int, settings: BaselineSettings) -> Baseline:
    """Fit one regression for each strength and keep the one most accurate on `valid` (ties: the likelier one)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    # One-letter words count too ("I", "a"): scikit-learn's own pattern drops them.
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=_WORD, sublinear_tf=True, max_features=settings.max_features
    )
    features = vectorizer.fit_transform(train.texts)
    candidates = []
    for strength in settings.strengths:
        regression = LogisticRegression(C=strength, max_iter=settings.max_iterations)
        regression.fit(features, train.labels)
        candidate = Baseline(vectorizer, regression, num_classes, strength, 0.0)
        probabilities = candidate.predict(valid.texts)
        score = accuracy(valid.labels, probabilities.argmax(1))
        loss = negative_log_likelihood(probabilities, valid.labels)
        candidates.append((-score, loss, strength, regression))
    negative_score, _, strength, regression = min(candidates, key=lambda candidate: candidate[:3])
    return Baseline(vectorizer, regression, num_classes, strength, -negative_score)
