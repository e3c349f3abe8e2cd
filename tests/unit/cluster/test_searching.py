"""The trials of a search without Tune: what they tell it and what they leave. tests/multiprocess has the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray import tune

from ulmfit_dist.cluster import searching
from ulmfit_dist.cluster.grid import load_sweep
from ulmfit_dist.cluster.run import plan_recipe
from ulmfit_dist.errors import DataError, InputError, RecipeError
from ulmfit_dist.events import EventLog, Silent
from ulmfit_dist.files import read_json
from ulmfit_dist.finetune.search import FAILED_NAME, SearchClassifierSettings, trial_folder
from ulmfit_dist.stage import StageCall
from ulmfit_dist.stages import STAGES

RATE = "search.parameters.classifier.lr"
SEARCH = {"trials": 2, "parameters": {"classifier.lr": [0.1]}}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Tune is told."""
    rows: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", rows.append)
    return rows


def test_tune_is_told_of_each_validation_once_and_first_of_an_earlier_attempts(
    told: list[dict[str, Any]], tmp_path: Path
) -> None:
    earlier = EventLog(tmp_path / "events.jsonl")
    earlier.event("validation", step=5, loss=0.9, accuracy=0.5)
    earlier.event("validation", step=10, loss=0.8, accuracy=0.6)
    log = searching._Told(tmp_path, "accuracy")
    assert told == [{"epoch": 1, "value": 0.5}, {"epoch": 2, "value": 0.6}]
    log.event("validation", step=10, loss=0.8, accuracy=0.6)  # trained again from a checkpoint before it
    log.event("point", step=11, loss=0.7)
    log.event("validation", step=15, loss=0.7, accuracy=0.7)
    assert told[2:] == [{"epoch": 3, "value": 0.7}]


def test_a_measure_that_the_task_has_not_is_said(tmp_path: Path) -> None:
    log = searching._Told(tmp_path, "r2")
    with pytest.raises(InputError, match=r"no r2.*found: loss, accuracy.*search.metric"):
        log.event("validation", step=5, loss=0.9, accuracy=0.5)


@pytest.mark.parametrize(("raised", "kind"), [(InputError, InputError), (DataError, DataError)])
def test_what_ends_every_trial_is_the_stages_error(
    raised: type[Exception], kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise raised("an empty split", found="none", do="give documents")  # type: ignore[call-arg]

    monkeypatch.setattr(searching, "_TRAINING", searching.StageKind("trial", 1, fail))  # type: ignore[arg-type]
    settings = SearchClassifierSettings.model_validate({"search": SEARCH})
    call = StageCall(settings, dict[str, Path](), tmp_path, Silent())
    for trial in range(2):
        searching._train({"trial": trial}, call)
    assert read_json(trial_folder(tmp_path, 1) / FAILED_NAME)["found"] == "none"
    error = searching._first_failure(tmp_path, 2)
    assert type(error) is kind
    assert str(error) == "no trial came to its end: an empty split; found: none; do: give documents"


def test_a_trial_that_begins_after_a_request_to_stop_trains_nothing(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    settings = SearchClassifierSettings.model_validate({"search": SEARCH})
    searching._train({"trial": 1}, StageCall(settings, {}, tmp_path, Silent()))
    assert list(tmp_path.iterdir()) == [tmp_path / "stop"]


def _plan(run_dir: Path, *overrides: str) -> dict[str, Any]:
    sweep = load_sweep(Path("quickstart"), ["search.trials=3", *overrides])
    return {name: stage.spec for name, stage in plan_recipe(sweep, STAGES, run_dir).stages.items()}


def test_a_search_takes_the_classifiers_place_in_the_plan(tmp_path: Path) -> None:
    rates = f"{RATE}={{ low = 0.001, high = 0.1, log = true }}"
    specs = _plan(tmp_path, rates, "resources.search_concurrent=4", "resources.task_cpus=2.0")
    found = [spec for spec in specs.values() if spec.kind == "search-classifier"]
    assert len(found) == 4
    assert {(spec.cpus, spec.gpus) for spec in found} == {(8.0, 0.0)}
    assert not [spec for spec in specs.values() if spec.kind == "train-classifier"]
    assert "model" in {source.path for name, source in specs["ensemble"].inputs.items() if name.startswith("member-")}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([f"{RATE}=[0.1, -1.0]"], r"lr in \[search.parameters\]"),
        (["search.parameters.classifier.lrr=[0.1]"], "did you mean 'lr'"),
        ([f"{RATE}=[0.1]", "resources.classifier_workers=2"], "classifier_workers = 1"),
        ([f"{RATE}=[0.1]", "resources.search_concurrent=0"], "search_concurrent = 0"),
        ([f"{RATE}=[0.1]", "grid.classifier.lr=[1.0, 2.0]"], r"both \[search\] and the grid choose classifier.lr"),
        ([f"{RATE}=[0.1]", "variants.high.classifier.lr=1.0"], "both .* variant high"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_any_work(overrides: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=words):
        _plan(tmp_path, *overrides)
