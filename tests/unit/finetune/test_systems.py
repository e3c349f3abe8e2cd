"""The table's systems: the majority, comparisons, disagreement and curves, against plain statements."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc, cohen_kappa_score, roc_auc_score

from ulmfit_dist.corpus.documents import Document
from ulmfit_dist.finetune.bootstrap import BootstrapSettings
from ulmfit_dist.finetune.labelled import LabelledDocuments
from ulmfit_dist.finetune.references import majority_system
from ulmfit_dist.finetune.systems import System, binary_curves, compare, disagreement, measure
from ulmfit_dist.models.targets import TargetConfig

RNG = np.random.default_rng(6)
DOCUMENTS = [Document(f"{i:032x}", "text") for i in range(300)]
SETTINGS = BootstrapSettings(resamples=1000)


def _test(kind: str = "multiclass") -> LabelledDocuments:
    several = kind == "multilabel"
    targets = RNG.integers(0, 2, (300, 2)) if several else RNG.integers(0, 2, 300)
    targets = RNG.normal(0, 1, 300) if kind == "regression" else targets
    return LabelledDocuments(DOCUMENTS, ("value",) if kind == "regression" else ("a", "b"), targets, kind)  # type: ignore[arg-type]


def _system(test: LabelledDocuments, name: str, skill: float, kind: str = "member") -> System:
    if test.kind == "regression":
        values = test.targets[:, None] + RNG.normal(0, 1 - skill, (300, 1))
        return System(name, kind, values, TargetConfig(kind="regression"), {})
    if test.kind == "multilabel":
        given = np.clip(test.targets * skill + RNG.random((300, 2)) * (1 - skill), 0, 1)
        return System(name, kind, given, TargetConfig(kind="multilabel"), {})
    second = np.clip(test.targets * skill + RNG.random(300) * (1 - skill), 0, 1)
    return System(name, kind, np.stack([1 - second, second], 1), TargetConfig(), {})


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_the_final_system_is_compared_with_the_best_member_and_the_references(kind: str) -> None:
    test = _test(kind)
    systems = [_system(test, name, skill) for name, skill in (("bad", 0.1), ("good", 0.45))]
    systems += [_system(test, "ensemble", 0.9, "ensemble"), _system(test, "tf-idf + LR", 0.2, "baseline")]
    systems.append(majority_system(test, len(test.documents)))
    rows = compare(systems[2], systems, test, SETTINGS)
    assert [row["with"] for row in rows] == ["good", "tf-idf + LR", "majority class"]
    headline = systems[0].measures.headline[0]
    assert {row["measure"] for row in rows} == {headline}
    measured = [measure(system, test, SETTINGS)[headline]["value"] for system in systems]
    assert rows[0]["difference"] == pytest.approx(measured[2] - measured[1])
    assert rows[0]["low"] > 0
    assert measured[4] <= min(measured[1:4])


def test_disagreement_by_counting() -> None:
    test = _test()
    a, b = _system(test, "a", 0.3), _system(test, "b", 0.2)
    (row,) = disagreement([a, b, _system(test, "ensemble", 0.5, "ensemble")], test)["pairs"]
    one, other = a.predicted == test.targets, b.predicted == test.targets
    assert row["members"] == ["a", "b"]
    assert row["differ"] == np.mean(a.predicted != b.predicted)
    parts = [row[key] for key in ("both_right", "only_first_right", "only_second_right", "both_wrong")]
    assert sum(parts) == pytest.approx(1)
    assert row["only_first_right"] == np.mean(one & ~other)
    assert row["kappa"] == pytest.approx(cohen_kappa_score(a.predicted, b.predicted))
    found = disagreement([a, b], test)
    assert found["any_right"] == np.mean(one | other)
    assert disagreement([a], test) == {"pairs": []}


def test_curves_of_two_classes_have_their_areas() -> None:
    test = _test()
    system = _system(test, "a", 0.3)
    curves = binary_curves(system, test)
    assert curves is not None
    assert auc(*zip(*curves["roc"], strict=True)) == pytest.approx(
        roc_auc_score(test.targets, system.predictions[:, 1]), abs=0.01
    )
    assert all(len(points) <= 200 for points in curves.values())
    assert binary_curves(_system(_test("multilabel"), "a", 0.3), _test("multilabel")) is None


def test_each_label_of_several_has_its_scores() -> None:
    test = _test("multilabel")
    row = measure(_system(test, "a", 0.6), test, SETTINGS)
    assert [score["label"] for score in row["per_class"]] == ["a", "b"]
    assert [score["support"] for score in row["per_class"]] == test.targets.sum(0).tolist()
    assert "confusion" not in row
