"""The simple model that everything here is measured against: tf-idf of word 1-2-grams and logistic regression.

Of several labels each has a regression of its own; values have a ridge regression. It sees the same training
documents, its one free setting is chosen on the same validation documents, and it is never left out: at a few thousand
short texts it may well win, and then the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.finetune.measures import measures_of, score
from ulmfit_dist.finetune.metrics import Floats, Targets
from ulmfit_dist.models.targets import TargetConfig, TargetKind

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
    """A fitted baseline: `strength` is the C that won on the validation split, by `measure`."""

    vectorizer: Any
    regression: Any
    kind: TargetKind
    num_labels: int
    strength: float = 0.0
    measure: str = ""
    valid_score: float = 0.0

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return predictions in input order: (N, C)."""
        out = np.zeros((len(texts), self.num_labels))
        if not texts:
            return out
        features = self.vectorizer.transform(texts)
        if self.kind == "regression":
            out[:, 0] = self.regression.predict(features)
        elif self.kind == "multilabel":
            out[:] = self.regression.predict_proba(features)
        else:
            out[:, self.regression.classes_] = self.regression.predict_proba(features)
        return out


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Texts with their targets, in the form of `LabelledDocuments`."""

    texts: list[str]
    targets: Targets


def fit_baseline(
    kind: TargetKind, train: LabelledTexts, valid: LabelledTexts, num_labels: int, settings: BaselineSettings
) -> Baseline:
    """Fit one regression for each strength and keep the best one on `valid` (ties: the likelier, or nearer, one)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # One-letter words count too ("I", "a"): scikit-learn's own pattern drops them.
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=_WORD, sublinear_tf=True, max_features=settings.max_features
    )
    features = vectorizer.fit_transform(train.texts)
    measures = measures_of(kind, num_labels)
    best: tuple[tuple[float, ...], Baseline] | None = None
    for strength in settings.strengths:
        regression = _regression(kind, strength, settings).fit(features, train.targets)
        fitted = Baseline(vectorizer, regression, kind, num_labels)
        found = score(measures, fitted.predict(valid.texts), valid.targets, TargetConfig(kind=kind))
        name = measures.headline[0]
        key = (-found[name], found["rmse" if kind == "regression" else "nll"], strength)
        if best is None or key < best[0]:
            best = key, Baseline(vectorizer, regression, kind, num_labels, strength, name, found[name])
    assert best is not None, "there is at least one strength"
    return best[1]


def _regression(kind: TargetKind, strength: float, settings: BaselineSettings) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier

    if kind == "regression":
        return Ridge(alpha=1 / strength)
    regression = LogisticRegression(C=strength, max_iter=settings.max_iterations)
    return OneVsRestClassifier(regression) if kind == "multilabel" else regression
