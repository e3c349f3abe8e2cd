"""How members become one: means of probabilities or of logits, fitted weights, or a regression on top (stacking).

Everything that is fitted is fitted on the validation split. Shapes: M members, N documents, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.calibration import as_answers
from ulmfit_dist.finetune.metrics import Floats, Targets
from ulmfit_dist.models.targets import TargetKind

Method = Literal["mean", "logits", "weights", "stacking"]
_EM_STEPS = 500
_SMALLEST = np.finfo(np.float64).tiny


class Stacking(Settings):
    """A logistic regression on the members' log-probabilities: scores = features @ coefficients.T + intercepts.

    One class: features (N, M C), coefficients (C, M C). Several labels: each label's own regression on the members'
    logits of it, coefficients (C, M).
    """

    coefficients: list[list[float]]
    intercepts: list[float]


class Fitted(Settings):
    """What combining needs besides the members' predictions: a weight a member, and for stacking its regression."""

    method: Method = "mean"
    weights: list[float] = Field(min_length=1)
    stacking: Stacking | None = None


def combine(kind: TargetKind, members: Sequence[Floats], fitted: Fitted) -> Floats:
    """Return the combined predictions (N, C) of members (N, C) each, in one order of documents and labels."""
    if fitted.method == "stacking":
        assert fitted.stacking is not None, "checked where it is fitted"
        return _stacked(kind, members, fitted.stacking)
    weights = np.array(fitted.weights) / sum(fitted.weights)
    if fitted.method != "logits":
        return np.asarray(np.tensordot(weights, np.stack(members), 1), dtype=np.float64)
    if kind == "multilabel":
        logits = np.tensordot(weights, np.stack([_answer_logits(member) for member in members]), 1)
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float64)
    return _softmax(np.tensordot(weights, np.stack([_log(member) for member in members]), 1))


def fit_weights(kind: TargetKind, members: Sequence[Floats], targets: Targets) -> list[float]:
    """Return the weights of the mean that make the targets likeliest; they sum to one.

    Classes: the likelihood of a mixture is concave in its weights, and EM climbs to its one top. Values: the mean that
    misses least by squares, by non-negative least squares.
    """
    if kind == "regression":
        from scipy.optimize import nnls

        found, _ = nnls(np.concatenate(members, axis=1), np.asarray(targets, np.float64))
        return _whole(found if found.sum() > 0 else np.ones(len(members)))
    answers = [as_answers(member) if kind == "multilabel" else member for member in members]
    chosen = targets.ravel() if kind == "multilabel" else targets
    likelihoods = np.stack([member[np.arange(len(chosen)), chosen] for member in answers], axis=1) + _SMALLEST
    weights = np.full(len(members), 1 / len(members))
    for _ in range(_EM_STEPS):
        shares = likelihoods * weights
        weights = (shares / shares.sum(1, keepdims=True)).mean(0)
    return _whole(weights)


def fit_stacking(kind: TargetKind, members: Sequence[Floats], targets: Targets, strength: float) -> Stacking:
    """Fit the regression on top; `strength` is scikit-learn's C.

    Raises InputError when a class (or a label, or its absence) does not occur in the validation split.
    """
    from sklearn.linear_model import LogisticRegression

    def fit(features: Floats, labels: Targets) -> tuple[Floats, Floats]:
        regression = LogisticRegression(C=strength, max_iter=5000).fit(features, labels)
        return regression.coef_, regression.intercept_

    num_labels = members[0].shape[1]
    if kind == "multilabel":
        _require(bool((targets.any(0) & ~targets.all(0)).all()))
        logits = np.stack([_answer_logits(member) for member in members], axis=2)
        parts = [fit(logits[:, label], targets[:, label]) for label in range(num_labels)]
        coefficients, intercepts = (np.concatenate(part) for part in zip(*parts, strict=True))
    else:
        _require(len(np.unique(targets)) == num_labels)
        coefficients, intercepts = fit(_features(members), targets)
        if num_labels == 2:
            # Of two classes scikit-learn fits the second one's score against zero.
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    return Stacking(coefficients=coefficients.tolist(), intercepts=intercepts.tolist())


def _stacked(kind: TargetKind, members: Sequence[Floats], stacking: Stacking) -> Floats:
    coefficients, intercepts = np.array(stacking.coefficients), np.array(stacking.intercepts)
    if kind == "multilabel":
        logits = np.stack([_answer_logits(member) for member in members], axis=2)
        return np.asarray(1 / (1 + np.exp(-((logits * coefficients).sum(2) + intercepts))), dtype=np.float64)
    return _softmax(_features(members) @ coefficients.T + intercepts)


def _features(members: Sequence[Floats]) -> Floats:
    return np.concatenate([_log(member) for member in members], axis=1)


def _answer_logits(probabilities: Floats) -> Floats:
    return _log(probabilities) - _log(1 - probabilities)


def _log(probabilities: Floats) -> Floats:
    # A probability of nothing would outweigh every other member: the floor is that of a float32 softmax.
    return np.asarray(np.log(np.maximum(probabilities, 1e-12)), dtype=np.float64)


def _softmax(logits: Floats) -> Floats:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float64)


def _whole(weights: Floats) -> list[float]:
    return [float(weight) for weight in weights / weights.sum()]


def _require(occurs: bool) -> None:
    if not occurs:
        raise InputError(
            "stacking needs every class in the validation split",
            found="one does not occur",
            do='give more validation documents, or set method = "mean"',
        )
