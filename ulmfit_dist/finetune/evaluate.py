"""The final table: every member, the ensemble, the tf-idf baseline and the majority class on the test split.

This is the only stage that reads the labels of the test split, and it reads them once. What needs no model stands
ready: the baseline's predictions (references.py), and the test texts that models have read (corpus/leakage.py), since a
score on those means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.leakage import LEAKAGE_NAME
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import digest_bytes, read_json, write_json
from ulmfit_dist.finetune.bootstrap import BootstrapSettings
from ulmfit_dist.finetune.labelled import LabelledDocuments, read_labelled_documents
from ulmfit_dist.finetune.members import open_ensemble
from ulmfit_dist.finetune.predictions import Predictions, write_predictions
from ulmfit_dist.finetune.references import read_references
from ulmfit_dist.finetune.systems import (
    System,
    binary_curves,
    compare,
    disagreement,
    measure,
    model_systems,
)
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.tokenization.rawtext import split_fields

METRICS_NAME = "metrics.json"
PREDICTIONS_NAME = "predictions.parquet"
BASELINE, LEAKAGE = "baseline", "leakage"


class EvaluateSettings(Settings):
    """What is measured besides the models, and how."""

    bootstrap: BootstrapSettings = Field(default=BootstrapSettings(), description="how intervals are drawn")
    mistakes: int = Field(default=20, ge=0, description="most confident mistakes that are listed")
    mistake_characters: int = Field(default=600, ge=20, description="characters of a mistake's text that are kept")


def evaluate(call: StageCall[EvaluateSettings]) -> Summary:
    """Measure a model or ensemble folder on the test split; write metrics.json and predictions.parquet.

    Inputs: `ensemble` or `model`; `test`, labelled documents; optionally `baseline`, what baseline and majority class
    predict for them, and `leakage`, which of them stand in what the models have read.
    Raises InputError for an empty test split, a document without a label, or a label that was unseen in training;
    DataError for a baseline of other documents.
    """
    ensemble = open_ensemble(_models_folder(call.inputs))
    target = ensemble.config.target
    test = read_labelled_documents(call.inputs["test"], ensemble.labels, target)
    references = read_references(call.inputs[BASELINE], test) if BASELINE in call.inputs else []
    systems = [*model_systems(ensemble, test, call.reporter), *references]
    rows = [measure(system, test, call.settings.bootstrap) for system in systems]
    final = next((system for system in systems if system.kind == "ensemble"), systems[0])
    leakage = _read_leakage(call.inputs, test)
    metrics = {
        "format": 1,
        "target": test.kind,
        "headline": list(final.measures.headline),
        "labels": list(test.labels),
        "test": _describe(test),
        "final": final.name,
        "systems": rows,
        "comparisons": compare(final, systems, test, call.settings.bootstrap),
        "disagreement": disagreement(systems, test),
        "curves": binary_curves(final, test),
        "mistakes": _mistakes(final, test, call.settings),
        "leakage": leakage,
        "bootstrap": call.settings.bootstrap.model_dump(mode="json"),
    }
    write_json(call.out / METRICS_NAME, metrics)
    predictions = {s.name: Predictions(test.ids, test.labels, s.predictions) for s in systems}
    write_predictions(call.out / PREDICTIONS_NAME, predictions, test.names)
    return {
        "documents": len(test.documents),
        "systems": {row["name"]: {key: row[key] for key in ("kind", *final.measures.headline)} for row in rows},
        "leaks": sum(origin["exact"] + origin["contained"] for origin in leakage["origins"]),
    }


def _models_folder(inputs: Mapping[str, Path]) -> Path:
    folder = inputs.get("ensemble") or inputs.get("model")
    if folder is None:
        raise InputError("nothing to evaluate", do="name a model or an ensemble folder")
    return folder


def _mistakes(system: System, test: LabelledDocuments, settings: EvaluateSettings) -> list[dict[str, Any]]:
    """The worst mistakes: a class given with the most confidence, labels or values that are furthest off."""
    predicted = system.predicted
    if test.kind == "regression":
        wrong, badness = np.arange(len(predicted)), np.abs(predicted - test.targets)
    elif test.kind == "multilabel":
        wrong = np.flatnonzero((predicted != test.targets).any(1))
        badness = np.abs(system.predictions - test.targets).max(1)
    else:
        wrong, badness = np.flatnonzero(predicted != test.targets), system.predictions.max(1)
    chosen = wrong[np.argsort(-badness[wrong], kind="stable")][: settings.mistakes]
    return [
        {
            "id": test.ids[i],
            "label": test.names[i],
            "predicted": test.name_of(predicted[i]),
            "probability": None if test.kind == "regression" else float(badness[i]),
            "text": _shown(test.documents[i].text, settings.mistake_characters),
            "characters": len(test.documents[i].text),
        }
        for i in chosen
    ]


def _shown(text: str, characters: int) -> str:
    """The beginning of a text, its fields as paragraphs."""
    return "\n\n".join(split_fields(text))[:characters]


def _read_leakage(inputs: Mapping[str, Path], test: LabelledDocuments) -> dict[str, Any]:
    if LEAKAGE not in inputs:
        return {"test_documents": len(test.documents), "origins": [], "examples": []}
    path = inputs[LEAKAGE] / LEAKAGE_NAME
    if not path.is_file():
        raise InputError(
            f"{inputs[LEAKAGE]} is no search for leaks", found=f"no {path.name}", do="run `ulmfit leakage`"
        )
    found: dict[str, Any] = read_json(path)
    if found["test_documents"] != len(test.documents):
        counts = f"{found['test_documents']} test documents and {len(test.documents)}"
        raise InputError("leaks were searched for in another test split", found=counts, do="search in this one")
    return found


def _describe(test: LabelledDocuments) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "documents": len(test.documents),
        "digest": digest_bytes("\n".join(test.ids).encode()),
    }
    if test.kind == "regression":
        return facts | {"mean": float(test.targets.mean()), "deviation": float(test.targets.std())}
    several = test.kind == "multilabel"
    counts = test.targets.sum(0) if several else np.bincount(test.targets, minlength=len(test.labels))
    return facts | {"per_label": dict(zip(test.labels, counts.tolist(), strict=True))}
