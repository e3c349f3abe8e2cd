"""What every result stands beside: the tf-idf baseline and the majority class, for the documents of the test split.

A stage of its own: it needs no language model, so that a CPU makes it while GPUs train, once for all members, seeds and
variants that learn from the same documents. Of the test split it reads the texts, not the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ulmfit_dist.corpus.documents import read_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import read_json, write_json
from ulmfit_dist.finetune.baseline import BaselineSettings, LabelledTexts, fit_baseline
from ulmfit_dist.finetune.labelled import LabelledDocuments, read_labelled_documents, read_training_documents
from ulmfit_dist.finetune.predictions import Predictions, read_predictions, write_predictions
from ulmfit_dist.finetune.subsets import SubsetSettings, smaller_part
from ulmfit_dist.finetune.systems import ONE_CLASS, System
from ulmfit_dist.finetune.thresholds import choose_thresholds
from ulmfit_dist.models.targets import TargetConfig
from ulmfit_dist.stage import StageCall, Summary

SYSTEMS_NAME = "systems.json"
_PREDICTIONS_NAME = "predictions.parquet"


class ReferenceSettings(BaselineSettings):
    """How the baseline is fitted, and on what."""

    subset: SubsetSettings = Field(
        default=SubsetSettings(),
        description="what baseline and majority class learn from: a recipe's classifiers' part",
    )


def make_references(call: StageCall[ReferenceSettings]) -> Summary:
    """Fit the baseline and count the classes; write predictions.parquet for the test documents and systems.json.

    Inputs: `train` and `valid`, labelled documents, and `test`, whose labels are not looked at.
    Raises InputError for an empty split, or labels of `valid` that `train` has not.
    """
    settings, subset = call.settings, call.settings.subset
    train = read_training_documents(call.inputs["train"], subset.targets)
    target = TargetConfig(kind=train.kind, separator=subset.targets.separator if train.kind == "multilabel" else "")
    valid = read_labelled_documents(call.inputs["valid"], train.labels, target)
    if subset.size:
        train = smaller_part(train, subset.size, subset.seed)
    test = list(read_documents(call.inputs["test"]))
    if not test:
        raise InputError(f"{call.inputs['test']} holds no documents", do="check the split's source")
    systems = [
        baseline_system(train, valid, [document.text for document in test], settings),
        majority_system(train, len(test)),
    ]
    ids = tuple(document.id for document in test)
    predictions = {system.name: Predictions(ids, train.labels, system.predictions) for system in systems}
    write_predictions(call.out / _PREDICTIONS_NAME, predictions)
    rows = [
        {"name": system.name, "kind": system.kind, "target": system.target.model_dump(), "facts": system.facts}
        for system in systems
    ]
    write_json(call.out / SYSTEMS_NAME, rows)
    return {system.name: dict(system.facts) for system in systems}


def read_references(folder: Path, test: LabelledDocuments) -> list[System]:
    """Return the systems that `make_references` wrote, with rows and columns in the order of `test`.

    Raises InputError for another folder, or where the baseline learned labels of another kind than the models;
    DataError when it predicts for other test documents or other labels.
    """
    if not (folder / SYSTEMS_NAME).is_file():
        raise InputError(f"{folder} is no baseline", found=f"no {SYSTEMS_NAME}", do="give what `ulmfit baseline` wrote")
    predictions, systems = read_predictions(folder / _PREDICTIONS_NAME), []
    for row in read_json(folder / SYSTEMS_NAME):
        target = TargetConfig.model_validate(row["target"])
        if target.kind != test.kind:
            found = f"{target.kind} and {test.kind}"
            raise InputError("baseline and models learned labels of two kinds", found=found, do="make it anew")
        aligned = predictions[row["name"]].aligned(test.ids, test.labels)
        systems.append(System(row["name"], row["kind"], aligned, target, row["facts"]))
    return systems


def majority_system(train: LabelledDocuments, count: int) -> System:
    """Return the system that gives `count` documents the shares of the classes (or labels) in training, or the mean.

    Its `documents` are those that it has learned from.
    """
    if train.kind in ONE_CLASS:
        counts = np.bincount(train.targets, minlength=len(train.labels))
        guess = counts / counts.sum()
        facts: dict[str, Any] = {"label": train.labels[int(counts.argmax())]}
    else:
        guess = np.atleast_1d(train.targets.mean(0))
        answer = guess[0] if train.kind == "regression" else guess >= 1 / 2
        facts = {"label": train.name_of(answer) or "no label"}
    facts["documents"] = len(train.documents)
    return System("majority class", "majority", np.tile(guess, (count, 1)), TargetConfig(kind=train.kind), facts)


def baseline_system(
    train: LabelledDocuments, valid: LabelledDocuments, texts: Sequence[str], settings: BaselineSettings
) -> System:
    """Return the tf-idf baseline, fitted on the members' own training and validation splits, for `texts`."""
    baseline = fit_baseline(
        train.kind,
        LabelledTexts(train.texts, train.targets),
        LabelledTexts(valid.texts, valid.targets),
        len(train.labels),
        settings,
    )
    thresholds: list[float] = []
    if train.kind == "multilabel":
        thresholds = choose_thresholds(baseline.predict(valid.texts), valid.targets)
    target = TargetConfig(kind=train.kind, thresholds=thresholds)
    facts = {"C": baseline.strength, f"valid_{baseline.measure}": baseline.valid_score}
    facts["documents"] = len(train.documents)
    return System("tf-idf + LR", "baseline", baseline.predict(texts), target, facts)
