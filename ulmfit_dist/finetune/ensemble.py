"""Make an ensemble of classifiers: a temperature for each member, fitted on the validation split, then the mean."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import write_json
from ulmfit_dist.finetune.calibration import apply_temperature, fit_temperature
from ulmfit_dist.finetune.classifier import score_probabilities
from ulmfit_dist.finetune.labelled import LabelledDocuments, read_labelled_documents
from ulmfit_dist.finetune.members import ENSEMBLE_NAME, Ensemble, check_labels, ensemble_config
from ulmfit_dist.finetune.predict import open_classifier
from ulmfit_dist.finetune.predictions import Predictions
from ulmfit_dist.stage import StageCall, Summary

MEMBER_PREFIX = "member-"


class EnsembleSettings(Settings):
    """How members are combined."""

    calibrate: bool = Field(default=True, description="fit each member's temperature on the validation split")
    weights: dict[str, float] = Field(default={}, description="weight of a member by name; 1 where none is given")


def make_ensemble(call: StageCall[EnsembleSettings]) -> Summary:
    """Copy members into out/ensemble and fit their temperatures on the validation split.

    Inputs: one classifier folder for each `member-NAME`, and `valid`, a labelled document folder.
    Members are taken in the order of their names, whatever the order of the inputs.
    Raises InputError when members' labels differ, or a validation label is unknown to them.
    """
    folders = _member_folders(call)
    classifiers = {name: open_classifier(folder) for name, folder in folders.items()}
    check_labels({name: classifier.labels for name, classifier in classifiers.items()})
    labels = next(iter(classifiers.values())).labels
    valid = read_labelled_documents(call.inputs["valid"], labels)
    untempered = Ensemble(ensemble_config(classifiers, call.settings.weights, {}), tuple(classifiers.values()))
    predictions: dict[str, Predictions] = {}
    for done, name in enumerate(classifiers):
        predictions[name] = untempered.predict_member(done, valid.ids, valid.texts)
        call.reporter.progress(done + 1, len(classifiers), member=name)
    temperatures = _temperatures(predictions, valid) if call.settings.calibrate else {}
    ensemble = Ensemble(ensemble_config(classifiers, call.settings.weights, temperatures), tuple(classifiers.values()))
    out = call.out / "ensemble"
    for row in ensemble.config.members:
        shutil.copytree(folders[row.name], out / row.folder)
    write_json(out / ENSEMBLE_NAME, ensemble.config.model_dump(mode="json"))
    return _summary(ensemble, predictions, valid)


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


def _temperatures(predictions: Mapping[str, Predictions], valid: LabelledDocuments) -> dict[str, float]:
    return {name: fit_temperature(entry.probabilities, valid.targets) for name, entry in predictions.items()}


def _summary(ensemble: Ensemble, predictions: Mapping[str, Predictions], valid: LabelledDocuments) -> Summary:
    members = {}
    for row in ensemble.config.members:
        before = predictions[row.name].probabilities
        members[row.name] = {
            "temperature": row.temperature,
            "weight": row.weight,
            "before": score_probabilities(before, valid),
            "after": score_probabilities(apply_temperature(before, row.temperature), valid),
        }
    combined = score_probabilities(ensemble.combine(list(predictions.values())), valid)
    return {"labels": list(ensemble.labels), "documents": len(valid.documents), "members": members, "metrics": combined}
