"""Baseline and majority class for a test split: what they learn from, and what comes back of what was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ulmfit_dist.corpus.documents import read_documents, write_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.finetune.baseline import LabelledTexts, fit_baseline
from ulmfit_dist.finetune.labelled import read_labelled_documents, read_training_documents
from ulmfit_dist.finetune.references import ReferenceSettings, make_references, read_references
from ulmfit_dist.finetune.subsets import SubsetSettings, smaller_part
from ulmfit_dist.stage import StageCall


def call(settings: ReferenceSettings, out: Path, **inputs: Path) -> StageCall[Any]:
    return StageCall(settings, inputs, out, Silent())


def test_the_predictions_are_those_of_the_fitted_baseline_in_the_order_asked_for(task: Path, tmp_path: Path) -> None:
    settings = ReferenceSettings(strengths=(3.0,))
    make_references(call(settings, tmp_path, **{name: task / name for name in ("train", "valid", "test")}))
    test = read_labelled_documents(task / "test", ("pos", "neg")).part([3, 1, 0, *range(4, 12), 2])
    baseline, majority = read_references(tmp_path, test)
    train, valid = (read_labelled_documents(task / name, ("pos", "neg")) for name in ("train", "valid"))
    plain = fit_baseline(
        "multiclass", LabelledTexts(train.texts, train.targets), LabelledTexts(valid.texts, valid.targets), 2, settings
    )
    assert baseline.predictions == pytest.approx(plain.predict(test.texts), abs=1e-6)
    assert (baseline.kind, baseline.facts["C"], baseline.facts["documents"]) == ("baseline", 3.0, 40)
    assert (majority.kind, majority.predictions.tolist()) == ("majority", [[0.5, 0.5]] * 12)


def test_the_labels_of_the_test_split_are_not_looked_at(task: Path, tmp_path: Path) -> None:
    unlabelled = [replace(document, label=None) for document in read_documents(task / "test")]
    write_documents(tmp_path / "unlabelled", unlabelled, 1000)
    splits = {"train": task / "train", "valid": task / "valid"}
    for name, folder in (("a", task / "test"), ("b", tmp_path / "unlabelled")):
        make_references(call(ReferenceSettings(), tmp_path / name, test=folder, **splits))
    files = [(tmp_path / name / "predictions.parquet").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def test_baseline_and_majority_learn_from_the_classifiers_part_alone(task: Path, tmp_path: Path) -> None:
    part = smaller_part(read_training_documents(task / "train"), 6, 2)
    write_documents(tmp_path / "part", part.documents, 1000)
    splits = {"valid": task / "valid", "test": task / "test"}
    chosen = ReferenceSettings(subset=SubsetSettings(size=6, seed=2))
    said = make_references(call(chosen, tmp_path / "a", train=task / "train", **splits))
    assert said == make_references(call(ReferenceSettings(), tmp_path / "b", train=tmp_path / "part", **splits))
    assert [row["documents"] for row in said.values()] == [6, 6]
    test = read_labelled_documents(task / "test", part.labels)
    a, b = (read_references(tmp_path / name, test)[0].predictions for name in ("a", "b"))
    assert np.array_equal(a, b)


def test_labels_of_another_kind_than_the_models_are_refused(task: Path, tmp_path: Path) -> None:
    make_references(
        call(ReferenceSettings(), tmp_path / "made", **{name: task / name for name in ("train", "valid", "test")})
    )
    test = replace(read_labelled_documents(task / "test", ("neg", "pos")), kind="ordinal")
    with pytest.raises(InputError, match="labels of two kinds"):
        read_references(tmp_path / "made", test)
