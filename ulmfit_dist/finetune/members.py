"""Ensemble folders: several classifiers whose calibrated probabilities are averaged.

    ensemble.json     labels in order; for each member its relative folder, weight, temperature, unit and direction
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
from ulmfit_dist.finetune.calibration import apply_temperature
from ulmfit_dist.finetune.metrics import Floats
from ulmfit_dist.finetune.predict import Direction, LoadedClassifier, Unit, open_classifier
from ulmfit_dist.finetune.predictions import Predictions, average

ENSEMBLE_NAME = "ensemble.json"


class EnsembleMember(Settings):
    """One row of ensemble.json."""

    name: str
    folder: str
    unit: Unit
    direction: Direction
    weight: float = Field(gt=0)
    temperature: float = Field(gt=0)


class EnsembleConfig(Settings):
    """The content of ensemble.json: `labels` is the order of the probabilities."""

    format: Literal[1] = 1
    kind: Literal["ensemble"] = "ensemble"
    labels: list[str]
    members: list[EnsembleMember] = Field(min_length=1)


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
        """Return the ensemble's probabilities in input order: (N, C)."""
        ids = [str(i) for i in range(len(texts))]
        return self.combine([self.predict_member(i, ids, texts) for i in range(len(self.classifiers))])

    def predict_member(self, index: int, ids: Sequence[str], texts: Sequence[str]) -> Predictions:
        """Return one member's own probabilities, before its temperature, in the ensemble's order of labels."""
        classifier = self.classifiers[index]
        raw = Predictions(tuple(ids), classifier.labels, classifier.predict(texts))
        return Predictions(raw.ids, self.labels, raw.aligned(raw.ids, self.labels))

    def combine(self, members: Sequence[Predictions]) -> Floats:
        """Return the weighted mean of the members' tempered probabilities: (N, C)."""
        rows = self.config.members
        tempered = [
            Predictions(member.ids, member.labels, apply_temperature(member.probabilities, row.temperature))
            for member, row in zip(members, rows, strict=True)
        ]
        return average(tempered, [row.weight for row in rows]).probabilities


def open_ensemble(folder: Path) -> Ensemble:
    """Open an ensemble folder, or a classifier folder as an ensemble of one.

    Raises InputError when the folder is neither, or a member's labels are not the ensemble's.
    """
    if not (folder / ENSEMBLE_NAME).is_file():
        classifier = open_classifier(folder)
        return Ensemble(ensemble_config({_member_name(classifier): classifier}, {}, {}), (classifier,))
    config = parse_settings(EnsembleConfig, read_json(folder / ENSEMBLE_NAME), str(folder / ENSEMBLE_NAME))
    classifiers = {row.name: open_classifier(folder / row.folder) for row in config.members}
    check_labels({"ensemble.json": tuple(config.labels)} | {name: c.labels for name, c in classifiers.items()})
    return Ensemble(config, tuple(classifiers.values()))


def check_labels(labels: Mapping[str, tuple[str, ...]]) -> None:
    """Raise InputError when members, by name, do not have the same set of labels."""
    first_name, first = next(iter(labels.items()))
    for name, other in labels.items():
        if set(other) != set(first):
            raise InputError(
                f"members {first_name} and {name} have different labels",
                found=f"{', '.join(first)} against {', '.join(other)}",
                do="train every member on the same labelled documents",
            )


def ensemble_config(
    classifiers: Mapping[str, LoadedClassifier], weights: Mapping[str, float], temperatures: Mapping[str, float]
) -> EnsembleConfig:
    """Return the rows of an ensemble; weight and temperature are 1 where none is given."""
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
    return EnsembleConfig(labels=list(next(iter(classifiers.values())).labels), members=members)


def _member_name(classifier: LoadedClassifier) -> str:
    return f"{classifier.unit}-{classifier.direction}"
