"""From a recipe to stages: which there are, what each reads, how the task is split, and which seed reaches which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.cluster.pipeline import hand_ingest, pretrain_settings, reference_settings, stage_specs, task_ingest
from ulmfit_dist.cluster.plan import Output, StageSpec
from ulmfit_dist.cluster.recipe import Recipe, TaskSettings, load_run_recipe
from ulmfit_dist.config import data_folder
from ulmfit_dist.crawl.pieces import PIECE_BYTES
from ulmfit_dist.crawl.settings import OfficialFolds
from ulmfit_dist.finetune.labelled import TargetSettings
from ulmfit_dist.finetune.subsets import SubsetSettings

QUICKSTART = data_folder("launch") / "quickstart.toml"


def test_a_member_is_a_chain_from_its_tokens_to_the_ensemble() -> None:
    specs = {spec.name: spec for spec in stage_specs(load_run_recipe(QUICKSTART, []))}
    for unit in ("word", "subword"):
        for direction in ("forward", "backward"):
            member = f"{unit}-{direction}"
            assert specs[f"pretrain-{member}"].inputs["tokens"] == Output(f"tokenize-{unit}")
            assert specs[f"pretrain-{member}"].settings.direction == direction  # type: ignore[attr-defined]
            assert specs[f"finetune-{member}"].inputs["model"] == Output(f"pretrain-{member}", "model")
            assert specs[f"classifier-{member}"].inputs["model"] == Output(f"finetune-{member}", "model")
            assert specs["ensemble"].inputs[f"member-{member}"] == Output(f"classifier-{member}", "model")


def test_the_test_split_is_read_by_what_comes_after_the_models_or_makes_none() -> None:
    readers = [
        spec.name
        for spec in stage_specs(load_run_recipe(QUICKSTART, []))
        if Output("ingest-task", "test") in spec.inputs.values()
    ]
    assert readers == ["baseline", "leakage", "evaluate"]


def test_without_a_task_there_are_language_models_only() -> None:
    recipe = load_run_recipe(QUICKSTART, []).model_copy(update={"task": None})
    names = {spec.name for spec in stage_specs(recipe)}
    assert "pretrain-word-forward" in names
    assert not any(
        part in name
        for name in names
        for part in ("task", "finetune", "classifier", "ensemble", "baseline", "leakage", "evaluate")
    )


def test_one_seed_reaches_every_stage_that_draws() -> None:
    recipe = load_run_recipe(QUICKSTART, ["seed=77"])
    drawing = [spec for spec in stage_specs(recipe) if spec.kind in ("pretrain", "finetune-lm", "train-classifier")]
    assert {spec.settings.training.seed for spec in drawing} == {77}  # type: ignore[attr-defined]
    assert {spec.settings.seed for spec in stage_specs(recipe) if spec.kind == "ingest"} == {77}  # type: ignore[attr-defined]


def test_a_seed_of_a_section_reaches_its_own_stages_alone() -> None:
    recipe = load_run_recipe(QUICKSTART, ["seed=77", "classifier.training.seed=5", "corpus.seed=6"])
    seeds = {
        spec.name.partition("-")[0]: spec.settings.training.seed  # type: ignore[attr-defined]
        for spec in stage_specs(recipe)
        if spec.kind in ("pretrain", "finetune-lm", "train-classifier")
    }
    assert seeds == {"pretrain": 77, "finetune": 77, "classifier": 5}
    ingests = {spec.name: spec.settings.seed for spec in stage_specs(recipe) if spec.kind == "ingest"}  # type: ignore[attr-defined]
    assert ingests == {"ingest-corpus": 6, "ingest-task": 77}


def _by_name(*overrides: str) -> dict[str, StageSpec]:
    return {spec.name: spec for spec in stage_specs(load_run_recipe(QUICKSTART, list(overrides)))}


def test_unlabelled_text_of_the_task_goes_to_the_language_models_and_to_rounds_where_there_are_some() -> None:
    unlabelled = Output("ingest-unlabelled", "unlabelled")
    specs = _by_name("task.unlabelled=unsup.csv")
    assert specs["ingest-unlabelled"].settings.splits == {"unlabelled": 1.0}  # type: ignore[attr-defined]
    assert specs["finetune-word-forward"].inputs["unlabelled"] == unlabelled
    assert "unlabelled" not in specs["classifier-word-forward"].inputs
    assert specs["leakage"].inputs["corpus-unlabelled"] == unlabelled  # it is searched for test texts
    rounds = _by_name("task.unlabelled=unsup.csv", "classifier.pseudo.rounds=2")
    assert rounds["classifier-word-forward"].inputs["unlabelled"] == unlabelled


def test_test_text_is_read_by_language_models_only_when_the_recipe_says_so_and_then_leaks_are_looked_for() -> None:
    test = Output("ingest-task", "test")
    specs = _by_name("finetune.test_text=true")
    assert specs["finetune-word-forward"].inputs["test"] == test
    assert specs["leakage"].inputs["corpus-test"] == test


def test_labelled_only_means_the_documents_of_the_classifier() -> None:
    part = SubsetSettings(size=30, seed=9)
    chosen = ["classifier.train_size=30", "classifier.training.seed=9", "task.unlabelled=unsup.csv"]
    specs = _by_name(*chosen, "finetune.labelled_only=true")
    assert specs["finetune-word-forward"].settings.subset == part  # type: ignore[attr-defined]
    assert "unlabelled" not in specs["finetune-word-forward"].inputs
    assert specs["baseline"].settings.subset == part  # type: ignore[attr-defined]
    everything = load_run_recipe(QUICKSTART, ["classifier.training.seed=9"])
    assert reference_settings(everything).subset == SubsetSettings()  # no seed, so that no other one moves the stage


def test_values_and_several_labels_in_one_column_are_no_classes() -> None:
    task = TaskSettings(source="all.csv")
    kinds = {"multiclass": True, "auto": True, "ordinal": True, "regression": False, "multilabel": False}
    found = {kind: task_ingest(task, TargetSettings.model_validate({"kind": kind})).classes for kind in kinds}
    assert found == kinds
    assert not task_ingest(task, TargetSettings(separator=";")).classes


def test_a_fold_is_the_test_split_and_the_rest_is_cut() -> None:
    settings = task_ingest(TaskSettings(source="all.csv", folds=10, fold=3, valid_share=0.15), TargetSettings())
    assert settings.splits == pytest.approx({"train": 0.75, "valid": 0.15, "test": 0.1})
    assert settings.rotation == pytest.approx(0.3)
    assert settings.official is None
    assert settings.sources[0].drops_duplicates


@pytest.mark.parametrize("given", [{"fold_file": "folds.txt"}, {"columns": {"fold": "part"}}])
def test_an_official_fold_is_the_test_split_with_its_equal_texts(given: dict[str, Any]) -> None:
    task = TaskSettings.model_validate({"source": "all.csv", "folds": 10, "fold": 3, "unlabelled": "more.csv", **given})
    settings = task_ingest(task, TargetSettings())
    file = str(Path.cwd() / "folds.txt") if "fold_file" in given else ""
    assert settings.official == OfficialFolds(folds=10, test=3, file=file)
    assert settings.columns.fold == given.get("columns", {}).get("fold", "")
    assert not settings.sources[0].drops_duplicates
    assert settings.rotation == pytest.approx(0.3)
    recipe = load_run_recipe(QUICKSTART, []).model_copy(update={"task": task})
    (unlabelled,) = (spec for spec in stage_specs(recipe) if spec.name == "ingest-unlabelled")
    assert unlabelled.settings.columns.fold == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("task", "splits", "named"),
    [
        ({"source": "all.csv"}, {"train": 0.8, "valid": 0.1, "test": 0.1}, [""]),
        ({"train": "a.csv", "test": "b.csv"}, {"train": 0.9, "valid": 0.1}, ["", "test"]),
        ({"train": "a.csv", "valid": "c.csv", "test": "b.csv"}, {"train": 1.0}, ["train", "valid", "test"]),
    ],
)
def test_a_task_is_split_by_its_sources_or_by_hash(
    task: dict[str, str], splits: dict[str, float], named: list[str]
) -> None:
    settings = task_ingest(TaskSettings.model_validate(task), TargetSettings())
    assert settings.splits == pytest.approx(splits)
    assert [source.split for source in settings.sources] == named
    assert settings.labelled


def test_ranks_and_their_cores_come_from_the_resources() -> None:
    settings = ["resources.pretrain_workers=4", "resources.pretrain_cpus_per_worker=2.0"]
    recipe = load_run_recipe(QUICKSTART, [*settings, "resources.pretrain_gpus_per_worker=1.0"])
    pretrain = pretrain_settings(recipe, "backward")
    assert (pretrain.workers, pretrain.cpus_per_worker, pretrain.gpus_per_worker) == (4, 2.0, 1.0)
    (spec,) = [spec for spec in stage_specs(recipe) if spec.name == "pretrain-word-forward"]
    assert (spec.cpus, spec.gpus) == (8.0, 4.0)


def test_a_classifiers_ranks_each_take_what_a_stage_of_the_task_takes() -> None:
    wanted = ["resources.classifier_workers=4", "resources.task_cpus=2.0", "resources.task_gpus=1.0"]
    specs = _by_name(*wanted)
    for name, spec in specs.items():
        if spec.kind == "train-classifier":
            assert (spec.cpus, spec.gpus) == (8.0, 4.0)
            assert spec.settings.workers == 4  # type: ignore[attr-defined]
            assert (spec.settings.cpus_per_worker, spec.settings.gpus_per_worker) == (2.0, 1.0)  # type: ignore[attr-defined]
        elif name.startswith(("finetune", "ensemble", "evaluate")):
            assert (spec.cpus, spec.gpus) == (2.0, 1.0)


def test_an_elastic_group_is_planned_with_its_fewest_ranks() -> None:
    settings = ["resources.pretrain_workers=4", "resources.pretrain_min_workers=2", "resources.cache_dir=/disk"]
    recipe = load_run_recipe(QUICKSTART, [*settings, "resources.pretrain_timeout_seconds=9"])
    pretrain = pretrain_settings(recipe, "forward")
    assert (pretrain.workers, pretrain.fewest_workers, pretrain.elastic) == (4, 2, True)
    assert (pretrain.group_timeout_seconds, pretrain.cache_dir) == (9.0, "/disk")
    (spec,) = [spec for spec in stage_specs(recipe) if spec.name == "pretrain-word-forward"]
    assert spec.cpus == 2 * pretrain.cpus_per_worker


def test_a_single_ingest_takes_the_sources_of_the_command() -> None:
    plain = hand_ingest(Recipe(), ["a.csv", "s3://b/c.warc.gz"], 3, labelled=False)
    assert [source.path for source in plain.sources] == ["a.csv", "s3://b/c.warc.gz"]
    assert plain.workers == 3
    assert not plain.labelled
    labelled = hand_ingest(load_run_recipe(QUICKSTART, []), ["a.csv"], 1, labelled=True)
    assert [source.path for source in labelled.sources] == ["a.csv"]
    assert set(labelled.splits) == {"train", "valid", "test"}


def test_an_ingest_asks_for_the_cpus_that_its_sources_keep_busy(tmp_path: Path) -> None:
    assert [spec.cpus for spec in stage_specs(load_run_recipe(QUICKSTART, [])) if spec.kind == "ingest"] == [1, 1]
    with (tmp_path / "large.jsonl").open("wb") as file:
        file.truncate(3 * PIECE_BYTES)
    sources = [f"corpus.sources=['{tmp_path}/large.jsonl']", "resources.ingest_workers=8"]
    (large, task) = [spec for spec in stage_specs(load_run_recipe(QUICKSTART, sources)) if spec.kind == "ingest"]
    assert (large.cpus, task.cpus) == (4, 1)
    assert large.settings.workers == 8  # type: ignore[attr-defined]
