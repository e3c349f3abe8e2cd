"""A search for a classifier's settings: what is drawn, and what became of the trials. cluster/searching.py runs it.

Trials are judged by the validation split alone. The first has the recipe's own settings, so that what is kept is never
worse there than what the recipe says.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator

from ulmfit_dist.config import Settings, operational, parse_settings, with_setting
from ulmfit_dist.events import EVENTS_NAME, read_events
from ulmfit_dist.files import read_json, write_bytes, write_json
from ulmfit_dist.finetune.classifier import TrainClassifierSettings
from ulmfit_dist.stage import RECORD_NAME

TRIALS_FOLDER = "trials"
TRIALS_NAME, TRIALS_TABLE = "trials.json", "trials.csv"
FAILED_NAME = "failed.json"
_SECTION = "classifier."
# What a classifier learns from, and not how: with more labels a trial would always win.
_NOT_SEARCHED = ("classifier.train_size", "classifier.targets", "classifier.pseudo")
_LOWER_IS_BETTER = ("loss",)


class Range(Settings):
    """Numbers to draw from, both ends included: whole ones where both ends are."""

    low: int | float
    high: int | float
    log: bool = Field(default=False, description="draw the logarithm evenly: for rates")

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.low < self.high or (self.log and self.low <= 0):
            msg = f"low = {self.low}, high = {self.high}: low is the smaller one, and of a log range above zero"
            raise ValueError(msg)
        return self

    def draw(self, generator: np.random.Generator) -> int | float:
        """Return a number of the range."""
        if self.log:
            drawn = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        else:
            drawn = generator.uniform(self.low, self.high)
        if isinstance(self.low, int) and isinstance(self.high, int):
            # Each whole number as likely as the others, also the ends.
            return round(drawn) if self.log else int(generator.integers(self.low, self.high, endpoint=True))
        return float(f"{drawn:.6g}")  # as it stands in the tables


def _shape(given: Any) -> str:
    return "list" if isinstance(given, list) else "range"


# By its shape, so that an error is told of the one that was meant.
Choice = Annotated[Annotated[list[Any], Tag("list")] | Annotated[Range, Tag("range")], Discriminator(_shape)]


class SearchSettings(Settings):
    """A search for a classifier's settings, by trials of which the worse ones are ended early (Ray Tune's ASHA)."""

    trials: int = Field(default=0, ge=0, description="how many, the recipe's own settings among them; 0: no search")
    metric: Literal["loss", "accuracy", "r2"] = Field(default="loss", description="of the validation split")
    grace_epochs: int = Field(default=2, ge=1, description="epochs that every trial trains, the head's included")
    reduction: int = Field(default=3, ge=2, description="of so many trials one goes on, each time epochs are as many")
    parameters: dict[str, Choice] = Field(
        default={}, description="dotted settings: a list, or a range { low = 0.002, high = 0.05, log = true }"
    )

    @model_validator(mode="before")
    @classmethod
    def _dotted_names(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("parameters"), dict):
            return {**values, "parameters": dict(_flat(values["parameters"]))}
        return values

    @model_validator(mode="after")
    def _searches_something(self) -> Self:
        if bool(self.parameters) != (self.trials > 1):
            msg = f"a search needs two trials or more and [search.parameters]: trials = {self.trials}"
            raise ValueError(msg)
        for name, given in self.parameters.items():
            if not name.startswith(_SECTION) or any(f"{name}.".startswith(f"{one}.") for one in _NOT_SEARCHED):
                msg = f"{name} cannot be searched: name settings of [classifier] that say how it is trained"
                raise ValueError(msg)
            if given == []:
                msg = f"{name} has no values"
                raise ValueError(msg)
        return self

    def draws(self, seed: int) -> list[dict[str, Any]]:
        """Return what each trial changes, by dotted name; a trial's draw does not depend on how many there are."""
        return [{}, *(self._draw(np.random.default_rng([seed, trial])) for trial in range(1, self.trials))]

    def best(self, values: Mapping[int, float]) -> int:
        """Return the trial with the best value; of equal ones the first."""
        sign = 1 if self.metric in _LOWER_IS_BETTER else -1
        return min(values, key=lambda trial: (sign * values[trial], trial))

    def _draw(self, generator: np.random.Generator) -> dict[str, Any]:
        return {
            name: given.draw(generator) if isinstance(given, Range) else given[int(generator.integers(len(given)))]
            for name, given in self.parameters.items()
        }


class SearchClassifierSettings(TrainClassifierSettings):
    """How a classifier is trained, and what is searched for."""

    search: SearchSettings
    concurrent: int = operational(1, "trials at a time; each takes cpus_per_worker and gpus_per_worker")


def trial_settings(settings: SearchClassifierSettings, drawn: Mapping[str, Any]) -> TrainClassifierSettings:
    """Return the settings of a trial. Raises RecipeError where a drawn value is none that the setting may have."""
    values = settings.model_dump(exclude={"search", "concurrent"})
    for name, value in drawn.items():
        values = with_setting(values, name.removeprefix(_SECTION), value)
    return parse_settings(TrainClassifierSettings, values, "[search.parameters] (names are those of [classifier])")


def trial_folder(out: Path, trial: int) -> Path:
    """Return the folder of a trial, a stage's, inside that of the search."""
    return out / TRIALS_FOLDER / f"{trial:05d}"


def validations(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the validations of a trial by their step, each once, however often the trial was begun again."""
    return {event["step"]: event for event in read_events(folder / EVENTS_NAME) if event["kind"] == "validation"}


def trial_rows(settings: SearchClassifierSettings, out: Path) -> list[dict[str, Any]]:
    """Return what became of each trial: {trial, settings, state, epochs, value, reason}.

    state: `done`; `stopped` when others were better; `failed`, with the reason. value: of the metric, after the epochs.
    """
    rows = []
    for trial, drawn in enumerate(settings.search.draws(settings.training.seed)):
        folder = trial_folder(out, trial)
        found, reason = list(validations(folder).values()), ""
        value = found[-1].get(settings.search.metric) if found else None
        if (folder / RECORD_NAME).exists():
            state, value = "done", read_json(folder / RECORD_NAME)["summary"]["metrics"][settings.search.metric]
        elif (folder / FAILED_NAME).exists():
            state, reason = "failed", read_json(folder / FAILED_NAME)["what"]
        else:
            state = "stopped"
        rows.append(
            {
                "trial": trial,
                "settings": drawn,
                "state": state,
                "epochs": len(found),
                "value": value,
                "reason": reason,
            }
        )
    return rows


def write_trials(settings: SearchSettings, rows: Sequence[Mapping[str, Any]], best: int, out: Path) -> None:
    """Write trials.json and trials.csv."""
    names = list(settings.parameters)
    write_json(
        out / TRIALS_NAME,
        {"format": 1, "metric": settings.metric, "parameters": names, "best": best, "trials": list(rows)},
    )
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["trial", "state", "epochs", settings.metric, *names, "best"])
    for row in rows:
        drawn = [row["settings"].get(name) for name in names]
        writer.writerow([row["trial"], row["state"], row["epochs"], row["value"], *drawn, int(row["trial"] == best)])
    write_bytes(out / TRIALS_TABLE, table.getvalue().encode())


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and "low" not in value and "high" not in value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
