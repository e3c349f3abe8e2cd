"""Ways to combine members, against plain statements and against what must be best."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.combining import Fitted, combine, fit_stacking, fit_weights
from ulmfit_dist.finetune.metrics import Floats, negative_log_likelihood

RNG = np.random.default_rng(4)
TARGETS = RNG.integers(0, 3, 200)


def _member(skill: float, noise: float = 1.0) -> Floats:
    logits = RNG.normal(0, noise, (200, 3)) + skill * np.eye(3)[TARGETS]
    exponentials = np.exp(logits)
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


MEMBERS = [_member(2.0), _member(1.0), _member(0.0)]


def test_means_of_probabilities_and_of_logits() -> None:
    two = [np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]])]
    assert combine("multiclass", two, Fitted(weights=[1, 1])) == pytest.approx(np.array([[0.7, 0.3]]))
    assert combine("multiclass", two, Fitted(weights=[3, 1])) == pytest.approx(np.array([[0.8, 0.2]]))
    # The mean of the logits of 0.9 and 0.5 is ln(9) / 2 = ln(3): three to one.
    for kind in ("multiclass", "multilabel"):
        geometric = combine(kind, two, Fitted(method="logits", weights=[1, 1]))  # type: ignore[arg-type]
        assert geometric == pytest.approx(np.array([[0.75, 0.25]]))
    assert combine("regression", [np.array([[2.0]]), np.array([[4.0]])], Fitted(weights=[1, 3])).tolist() == [[3.5]]


def test_fitted_weights_are_the_likeliest() -> None:
    weights = fit_weights("multiclass", MEMBERS, TARGETS)
    assert sum(weights) == pytest.approx(1)
    assert weights[0] > weights[1] > weights[2]
    best = negative_log_likelihood(combine("multiclass", MEMBERS, Fitted(weights=weights)), TARGETS)
    for other in RNG.dirichlet(np.ones(3), 300).tolist():
        assert best <= negative_log_likelihood(combine("multiclass", MEMBERS, Fitted(weights=other)), TARGETS) + 1e-6


def test_weights_of_several_labels_and_of_values() -> None:
    labels = RNG.integers(0, 2, (200, 2))
    good, bad = np.clip(labels * 0.8 + 0.1, 0, 1), np.full((200, 2), 0.5)
    assert fit_weights("multilabel", [good, bad], labels)[0] > 0.95
    values = RNG.normal(0, 1, 200)
    near, far = values[:, None] + RNG.normal(0, 0.1, (200, 1)), RNG.normal(0, 1, (200, 1))
    assert fit_weights("regression", [near, far], values)[0] > 0.95
    assert fit_weights("regression", [-near, -near], values) == [0.5, 0.5]


@pytest.mark.parametrize("classes", [2, 3])
def test_stacking_is_the_plain_regression_on_log_probabilities(classes: int) -> None:
    chosen = classes > TARGETS
    targets = TARGETS[chosen]
    members = [member[chosen][:, :classes] / member[chosen][:, :classes].sum(1, keepdims=True) for member in MEMBERS]
    stacking = fit_stacking("multiclass", members, targets, 1.0)
    features = np.log(np.concatenate(members, axis=1))
    plain = LogisticRegression(max_iter=5000).fit(features, targets)
    found = combine("multiclass", members, Fitted(method="stacking", weights=[1, 1, 1], stacking=stacking))
    assert found == pytest.approx(plain.predict_proba(features), abs=1e-6)


def test_stacking_of_several_labels() -> None:
    labels = RNG.integers(0, 2, (200, 2))
    members = [np.clip(labels * 0.5 + RNG.random((200, 2)) * 0.5, 0.01, 0.99), RNG.uniform(0.1, 0.9, (200, 2))]
    stacking = fit_stacking("multilabel", members, labels, 1.0)
    found = combine("multilabel", members, Fitted(method="stacking", weights=[1, 1], stacking=stacking))
    features = np.stack([np.log(member / (1 - member))[:, 1] for member in members], axis=1)
    plain = LogisticRegression(max_iter=5000).fit(features, labels[:, 1])
    assert found[:, 1] == pytest.approx(plain.predict_proba(features)[:, 1], abs=1e-6)


def test_stacking_needs_every_class() -> None:
    with pytest.raises(InputError, match="every class in the validation split"):
        fit_stacking("multiclass", MEMBERS, np.minimum(TARGETS, 1), 1.0)


def test_a_certain_member_stays_finite() -> None:
    certain = [np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])]
    for kind in ("multiclass", "multilabel"):
        found = combine(kind, certain, Fitted(method="logits", weights=[1, 1]))  # type: ignore[arg-type]
        assert found == pytest.approx(np.array([[0.5, 0.5]]))
