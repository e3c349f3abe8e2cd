"""A search's draws, its choice, and the table of its trials."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ulmfit_dist.config import parse_settings
from ulmfit_dist.errors import RecipeError
from ulmfit_dist.events import EventLog
from ulmfit_dist.files import read_json, write_json
from ulmfit_dist.finetune.classifier import TrainClassifierSettings
from ulmfit_dist.finetune.search import (
    Range,
    SearchClassifierSettings,
    SearchSettings,
    trial_folder,
    trial_rows,
    trial_settings,
    write_trials,
)

RATE: dict[str, Any] = {"low": 0.001, "high": 0.1, "log": True}
SEARCH = {"trials": 4, "parameters": {"classifier": {"lr": RATE, "training": {"batch_size": [8, 16]}}}}


def _search(**changes: Any) -> SearchSettings:
    return parse_settings(SearchSettings, {**SEARCH, **changes}, "r")


def test_the_first_trial_is_the_recipe_and_the_others_are_drawn_one_by_one() -> None:
    four, nine = _search(), _search(trials=9)
    assert four.draws(1)[0] == {}
    assert four.draws(1) == nine.draws(1)[:4]
    assert four.draws(1) != four.draws(2)
    assert all(set(drawn) == {"classifier.lr", "classifier.training.batch_size"} for drawn in four.draws(1)[1:])


def test_ranges_are_drawn_evenly_between_their_ends() -> None:
    generator = np.random.default_rng(0)
    rates = np.log10([Range(**RATE).draw(generator) for _ in range(4000)])
    assert np.histogram(rates, bins=4, range=(-3, -1))[0] == pytest.approx(1000, abs=120)
    shares = [Range(low=0.0, high=1.0).draw(generator) for _ in range(4000)]
    assert np.histogram(shares, bins=4, range=(0, 1))[0] == pytest.approx(1000, abs=120)
    wholes = [Range(low=1, high=4).draw(generator) for _ in range(4000)]
    assert np.bincount(wholes)[1:] == pytest.approx(1000, abs=120)
    assert {type(one) for one in wholes} == {int}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trials": 1}, "two trials or more"),
        ({"parameters": {}}, "two trials or more"),
        ({"parameters": {"pretrain": {"training": {"lr": [1]}}}}, r"pretrain.training.lr cannot be searched"),
        ({"parameters": {"classifier.train_size": [10, 20]}}, "train_size cannot be searched"),
        ({"parameters": {"classifier": {"targets": {"kind": ["auto"]}}}}, "targets.kind cannot be searched"),
        ({"parameters": {"classifier.lr": []}}, "classifier.lr has no values"),
        ({"parameters": {"classifier.lr": {"low": 1.0, "high": 0.5}}}, "low is the smaller one"),
        ({"parameters": {"classifier.lr": {"low": 0, "high": 0.5, "log": True}}}, "above zero"),
        ({"parameters": {"classifier.lr": 3}}, "classifier.lr"),
        ({"metric": "f1"}, "metric"),
    ],
)
def test_what_is_no_search_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        _search(**changes)


def test_a_trial_has_its_draw_and_else_the_recipes_settings() -> None:
    settings = SearchClassifierSettings(epochs=7, search=_search())
    drawn = {"classifier.lr": 0.5, "classifier.training.batch_size": 16}
    trial = trial_settings(settings, drawn)
    expected = TrainClassifierSettings.model_validate({"epochs": 7, "lr": 0.5, "training": {"batch_size": 16}})
    assert type(trial) is TrainClassifierSettings
    assert trial == expected
    assert trial_settings(settings, {}) == TrainClassifierSettings(epochs=7)
    with pytest.raises(RecipeError, match="'epocs'.*did you mean 'epochs'"):
        trial_settings(settings, {"classifier.epocs": 2})


def test_the_best_is_the_lowest_loss_or_the_highest_accuracy_and_of_equals_the_first() -> None:
    values = {0: 0.4, 1: 0.2, 2: 0.9, 3: 0.2, 4: 0.9}
    assert _search().best(values) == 1
    assert _search(metric="accuracy").best(values) == 2


def test_the_table_says_what_became_of_each_trial(tmp_path: Path) -> None:
    settings = SearchClassifierSettings(search=_search())
    losses = {0: [0.9, 0.8, 0.7], 1: [0.9], 2: []}
    for trial, found in losses.items():
        log = EventLog(trial_folder(tmp_path, trial) / "events.jsonl")
        # Begun again after its first epoch, a trial validates that one twice.
        for epoch in [0, *range(len(found))] if found else []:
            log.event("validation", step=10 * epoch, epoch=epoch, loss=found[epoch])
    write_json(trial_folder(tmp_path, 0) / "stage.json", {"summary": {"metrics": {"loss": 0.65}}})
    write_json(trial_folder(tmp_path, 2) / "failed.json", {"what": "the loss is no number"})
    rows = trial_rows(settings, tmp_path)
    assert [(row["state"], row["epochs"], row["value"], row["reason"]) for row in rows] == [
        ("done", 3, 0.65, ""),
        ("stopped", 1, 0.9, ""),
        ("failed", 0, None, "the loss is no number"),
        ("stopped", 0, None, ""),
    ]
    write_trials(settings.search, rows, 0, tmp_path)
    assert read_json(tmp_path / "trials.json")["trials"] == rows
    with (tmp_path / "trials.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(row["trial"], row["loss"], row["best"]) for row in table] == [
        ("0", "0.65", "1"),
        ("1", "0.9", "0"),
        ("2", "", "0"),
        ("3", "", "0"),
    ]
    assert float(table[1]["classifier.lr"]) == rows[1]["settings"]["classifier.lr"]
    assert table[0]["classifier.lr"] == ""
