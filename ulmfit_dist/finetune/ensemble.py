"""Make an ensemble of classifiers: temperatures, weights or stacking fitted on the validation split, then one model."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from ulmfit_dist.config import Settings
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import write_json
from ulmfit_dist.finetune.calibration import best_temperature, calibrate
from ulmfit_dist.finetune.combining import Fitted, Method, combine, fit_stacking, fit_weights
from ulmfit_dist.finetune.labelled import LabelledDocuments, read_labelled_documents
from ulmfit_dist.finetune.measures import measures_of, score
from ulmfit_dist.finetune.members import ENSEMBLE_NAME, Ensemble, EnsembleConfig, check_members, ensemble_config
from ulmfit_dist.finetune.metrics import Floats
from ulmfit_dist.finetune.predict import open_classifier
from ulmfit_dist.finetune.predictions import Predictions
from ulmfit_dist.finetune.thresholds import choose_thresholds
from ulmfit_dist.models.targets import TargetConfig
from ulmfit_dist.stage import StageCall, Summary

MEMBER_PREFIX = "member-"
_FOLDS = 5


class EnsembleSettings(Settings):
    """How members are combined."""

    method: Method = Field(
        default="mean",
        description="mean of probabilities or of logits, or weights or stacking fitted on the validation split",
    )
    calibrate: bool = Field(
        default=True, description="fit the temperatures of members and ensemble on the validation split"
    )
    weights: dict[str, float] = Field(default={}, description="weight of a member by name; 1 where none is given")
    stacking_strength: float = Field(default=1.0, gt=0, description="stacking: C of the logistic regression")

    @model_validator(mode="after")
    def _weights_are_given_or_fitted(self) -> Self:
        if self.weights and self.method in ("weights", "stacking"):
            msg = f"weights are fitted with method = {self.method!r}: give none, or use mean or logits"
            raise ValueError(msg)
        return self


@dataclass(frozen=True)
class _Validation:
    """The validation split with every member's predictions, before any temperature."""

    documents: LabelledDocuments
    members: dict[str, Predictions]
    settings: EnsembleSettings


def make_ensemble(call: StageCall[EnsembleSettings]) -> Summary:
    """Copy members into out/ensemble and fit on the validation split what combines them.

    Inputs: one classifier folder for each `member-NAME`, and `valid`, a labelled document folder.
    Members are taken in the order of their names, whatever the order of the inputs. `cross_validated` in the summary:
    the ensemble's measures on folds of the validation split that its weights and temperatures were not fitted on.
    Raises InputError when members' labels differ, or a validation label is unknown to them.
    """
    folders = _member_folders(call)
    classifiers = {name: open_classifier(folder) for name, folder in folders.items()}
    check_members(classifiers)
    first = next(iter(classifiers.values()))
    valid = read_labelled_documents(call.inputs["valid"], first.labels, first.target)
    if call.settings.method in ("logits", "stacking") and first.target.kind == "regression":
        found = f"method = {call.settings.method!r}"
        raise InputError("a regression has no probabilities", found=found, do='use method = "mean" or "weights"')
    untempered = Ensemble(ensemble_config(classifiers), tuple(classifiers.values()))
    predictions: dict[str, Predictions] = {}
    for done, name in enumerate(classifiers):
        predictions[name] = untempered.predict_member(done, valid.ids, valid.texts)
        call.reporter.progress(done + 1, len(classifiers), member=name)
    validation = _Validation(valid, predictions, call.settings)
    config = _fit(untempered.config, validation)
    out = call.out / "ensemble"
    for row in config.members:
        shutil.copytree(folders[row.name], out / row.folder)
    write_json(out / ENSEMBLE_NAME, config.model_dump(mode="json"))
    return _summary(Ensemble(config, tuple(classifiers.values())), validation)


def _member_folders(call: StageCall[EnsembleSettings]) -> dict[str, Path]:
    folders = {
        name.removeprefix(MEMBER_PREFIX): folder
        for name, folder in sorted(call.inputs.items())
        if name.startswith(MEMBER_PREFIX)
    }
    if not folders:
        raise InputError("an ensemble needs at least one member", do="name classifier folders")
    unknown = sorted(set(call.settings.weights) - set(folders))
    if unknown:
        raise InputError(
            "a weight names no member", found=", ".join(unknown), do=f"the members are {', '.join(folders)}"
        )
    return folders


def _fit(config: EnsembleConfig, validation: _Validation) -> EnsembleConfig:
    """Return the config with everything that is fitted, in the order in which it is used."""
    kind, targets, settings = config.target.kind, validation.documents.targets, validation.settings
    raw = [validation.members[row.name].probabilities for row in config.members]
    wanted = settings.calibrate and kind != "regression"
    temperatures = [best_temperature(kind, one, targets) if wanted else 1.0 for one in raw]
    tempered = [calibrate(kind, one, temperature) for one, temperature in zip(raw, temperatures, strict=True)]
    weights = [settings.weights.get(row.name, 1.0) for row in config.members]
    stacking = None
    if settings.method == "weights":
        weights = fit_weights(kind, tempered, targets)
    if settings.method == "stacking":
        stacking = fit_stacking(kind, tempered, targets, settings.stacking_strength)
    combined = combine(kind, tempered, Fitted(method=settings.method, weights=weights, stacking=stacking))
    # One member by itself is as calibrated as its own temperature makes it.
    temperature = best_temperature(kind, combined, targets) if wanted and len(raw) > 1 else 1.0
    target = _with_thresholds(config.target, calibrate(kind, combined, temperature), validation.documents)
    members = [
        row.model_copy(update={"weight": weight, "temperature": own})
        for row, weight, own in zip(config.members, weights, temperatures, strict=True)
    ]
    update = {"method": settings.method, "stacking": stacking, "temperature": temperature}
    return config.model_copy(update={**update, "target": target, "members": members})


def _with_thresholds(target: TargetConfig, predictions: Floats, documents: LabelledDocuments) -> TargetConfig:
    if target.kind != "multilabel":
        return target
    return target.model_copy(update={"thresholds": choose_thresholds(predictions, documents.targets)})


def _summary(ensemble: Ensemble, validation: _Validation) -> Summary:
    config, valid = ensemble.config, validation.documents
    members = {}
    for row, classifier in zip(config.members, ensemble.classifiers, strict=True):
        before = validation.members[row.name].probabilities
        after = calibrate(config.target.kind, before, row.temperature)
        members[row.name] = {
            "temperature": row.temperature,
            "weight": row.weight,
            "before": _score(before, valid, classifier.target),
            "after": _score(after, valid, _with_thresholds(classifier.target, after, valid)),
        }
    raw = list(validation.members.values())
    before = combine(config.target.kind, ensemble.temper(raw), config.fitted)
    return {
        "labels": list(ensemble.labels),
        "documents": len(valid.documents),
        "method": config.method,
        "members": members,
        "temperature": config.temperature,
        "before": _score(before, valid, _with_thresholds(config.target, before, valid)),
        "metrics": _score(ensemble.combine(raw), valid, config.target),
        "cross_validated": _cross_validated(config, validation),
    }


def _cross_validated(config: EnsembleConfig, validation: _Validation) -> dict[str, float] | None:
    """Score each fold with what was fitted on the others; None where a fold leaves too little to fit."""
    count, valid = len(validation.documents.documents), validation.documents
    folds = [np.arange(count)[fold::_FOLDS] for fold in range(_FOLDS)]
    if count < 2 * _FOLDS:
        return None
    pieces = []
    for fold in folds:
        rest = np.setdiff1d(np.arange(count), fold)
        members = {name: _rows(one, rest) for name, one in validation.members.items()}
        try:
            fitted = _fit(config, _Validation(valid.part(rest), members, validation.settings))
        except InputError:
            return None
        held_out = Ensemble(fitted, ()).combine([_rows(one, fold) for one in validation.members.values()])
        pieces.append((held_out, fitted.target))
    if valid.kind == "multilabel":
        # Each fold has thresholds of its own; the measures need one: the mean.
        thresholds = np.mean([target.thresholds for _, target in pieces], axis=0).tolist()
        target = config.target.model_copy(update={"thresholds": thresholds})
    else:
        target = config.target
    return _score(np.concatenate([one for one, _ in pieces]), valid.part(np.concatenate(folds)), target)


def _rows(predictions: Predictions, rows: Any) -> Predictions:
    ids = tuple(predictions.ids[i] for i in rows)
    return Predictions(ids, predictions.labels, predictions.probabilities[rows])


def _score(predictions: Floats, documents: LabelledDocuments, target: TargetConfig) -> dict[str, float]:
    return score(measures_of(target.kind, len(documents.labels)), predictions, documents.targets, target)
