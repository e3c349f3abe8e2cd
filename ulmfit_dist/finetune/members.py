"""Ensemble folders: several classifiers whose calibrated predictions are combined.

    ensemble.json     labels in order, what they mean, how members are combined; for each member its relative folder,
                      weight, temperature, unit and direction
    members/NAME/     a classifier folder

A plain classifier folder opens as an ensemble of one, so whatever takes the one takes the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from ulmfit_dist.config import Settings, parse_settings
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import read_json
from ulmfit_dist.finetune.calibration import calibrate
from ulmfit_dist.finetune.combining import Fitted, Method, Stacking, combine
from ulmfit_dist.finetune.metrics import Floats
from ulmfit_dist.finetune.predict import Direction, LoadedClassifier, Unit, open_classifier
from ulmfit_dist.finetune.predictions import Predictions
from ulmfit_dist.models.packed_lstm import Precision
from ulmfit_dist.models.targets import TargetConfig

ENSEMBLE_NAME = "ensemble.json"


class EnsembleMember(Settings):
    """One row of ensemble.json."""

    name: str
    folder: str
    unit: Unit
    direction: Direction
    weight: float = Field(ge=0)
    temperature: float = Field(gt=0)


class EnsembleConfig(Settings):
    """The content of ensemble.json: `labels` is the order of the probabilities."""

    format: Literal[1] = 1
    kind: Literal["ensemble"] = "ensemble"
    labels: list[str]
    target: TargetConfig = TargetConfig()
    method: Method = "mean"
    temperature: float = Field(default=1.0, gt=0, description="of the combined probabilities")
    stacking: Stacking | None = None
    members: list[EnsembleMember] = Field(min_length=1)

    @property
    def fitted(self) -> Fitted:
        """How the members are combined."""
        weights = [member.weight for member in self.members]
        return Fitted(method=self.method, weights=weights, stacking=self.stacking)


@dataclass(frozen=True)
class Ensemble:
    """Members with their weights and temperatures; `labels` is the order of every probability column."""

    config: EnsembleConfig
    classifiers: tuple[LoadedClassifier, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in the order of the probability columns."""
        return tuple(self.config.labels)

    @property
    def is_single(self) -> bool:
        """Whether there is only one member, so that the ensemble is that member."""
        return len(self.config.members) == 1

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return the ensemble's predictions in input order: (N, C)."""
        ids = [str(i) for i in range(len(texts))]
        return self.combine([self.predict_member(i, ids, texts) for i in range(len(self.classifiers))])

    def predict_member(self, index: int, ids: Sequence[str], texts: Sequence[str]) -> Predictions:
        """Return one member's own predictions, before its temperature, in the ensemble's order of labels."""
        classifier = self.classifiers[index]
        raw = Predictions(tuple(ids), classifier.labels, classifier.predict(texts))
        return Predictions(raw.ids, self.labels, raw.aligned(raw.ids, self.labels))

    def combine(self, members: Sequence[Predictions]) -> Floats:
        """Return what the members' tempered predictions make together: (N, C), documents as in the first member's."""
        kind, tempered = self.config.target.kind, self.temper(members)
        return calibrate(kind, combine(kind, tempered, self.config.fitted), self.config.temperature)

    def temper(self, members: Sequence[Predictions]) -> list[Floats]:
        """Return the members' predictions at their temperatures, in one order of documents and labels."""
        kind, ids = self.config.target.kind, members[0].ids
        return [
            calibrate(kind, member.aligned(ids, self.labels), row.temperature)
            for member, row in zip(members, self.config.members, strict=True)
        ]


def open_ensemble(folder: Path, precision: Precision = "float32") -> Ensemble:
    """Open an ensemble folder, or a classifier folder as an ensemble of one.

    Raises InputError when the folder is neither, or a member's labels are not the ensemble's.
    """
    if not (folder / ENSEMBLE_NAME).is_file():
        classifier = open_classifier(folder, precision)
        return Ensemble(ensemble_config({_member_name(classifier): classifier}), (classifier,))
    config = parse_settings(EnsembleConfig, read_json(folder / ENSEMBLE_NAME), str(folder / ENSEMBLE_NAME))
    classifiers = {row.name: open_classifier(folder / row.folder, precision) for row in config.members}
    check_members(classifiers)
    check_labels("ensemble.json", tuple(config.labels), next(iter(classifiers.items())))
    return Ensemble(config, tuple(classifiers.values()))


def check_members(classifiers: Mapping[str, LoadedClassifier]) -> None:
    """Raise InputError when members, by name, do not predict the same labels in the same sense."""
    first_name, first = next(iter(classifiers.items()))
    for name, other in classifiers.items():
        check_labels(first_name, first.labels, (name, other))
        if (first.target.kind, first.target.separator) != (other.target.kind, other.target.separator):
            raise InputError(
                f"members {first_name} and {name} predict different things",
                found=f"{first.target.kind} against {other.target.kind}",
                do="train every member with the same targets",
            )


def check_labels(name: str, labels: tuple[str, ...], other: tuple[str, LoadedClassifier]) -> None:
    """Raise InputError when a member has another set of labels; the labels of a scale also need one order."""
    other_name, classifier = other
    ordered = classifier.target.kind == "ordinal"
    if set(labels) != set(classifier.labels) or (ordered and labels != classifier.labels):
        raise InputError(
            f"members {name} and {other_name} have different labels",
            found=f"{', '.join(labels)} against {', '.join(classifier.labels)}",
            do="train every member on the same labelled documents",
        )


def ensemble_config(
    classifiers: Mapping[str, LoadedClassifier],
    weights: Mapping[str, float] | None = None,
    temperatures: Mapping[str, float] | None = None,
) -> EnsembleConfig:
    """Return the rows of an ensemble; weight and temperature are 1 where none is given, thresholds the first's."""
    weights, temperatures = weights or {}, temperatures or {}
    members = [
        EnsembleMember(
            name=name,
            folder=f"members/{name}",
            unit=classifier.unit,
            direction=classifier.direction,
            weight=weights.get(name, 1.0),
            temperature=temperatures.get(name, 1.0),
        )
        for name, classifier in classifiers.items()
    ]
    first = next(iter(classifiers.values()))
    return EnsembleConfig(labels=list(first.labels), target=first.target, members=members)


def _member_name(classifier: LoadedClassifier) -> str:
    return f"{classifier.unit}-{classifier.direction}"
