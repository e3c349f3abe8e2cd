"""From a recipe to stages: which there are, how the task is split, and that one seed reaches every stage that draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster.pipeline import hand_ingest, pretrain_settings, stage_specs, task_ingest
from ulmfit_dist.cluster.plan import Output
from ulmfit_dist.cluster.recipe import Recipe, TaskSettings, load_run_recipe
from ulmfit_dist.config import data_folder
from ulmfit_dist.crawl.pieces import PIECE_BYTES

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


def test_only_the_last_stage_reads_the_test_split() -> None:
    readers = [
        spec.name
        for spec in stage_specs(load_run_recipe(QUICKSTART, []))
        if Output("ingest-task", "test") in spec.inputs.values()
    ]
    assert readers == ["evaluate"]


def test_without_a_task_there_are_language_models_only() -> None:
    recipe = load_run_recipe(QUICKSTART, []).model_copy(update={"task": None})
    names = {spec.name for spec in stage_specs(recipe)}
    assert "pretrain-word-forward" in names
    assert not any(
        part in name for name in names for part in ("task", "finetune", "classifier", "ensemble", "evaluate")
    )


def test_one_seed_reaches_every_stage_that_draws() -> None:
    recipe = load_run_recipe(QUICKSTART, ["seed=77"])
    drawing = [spec for spec in stage_specs(recipe) if spec.kind in ("pretrain", "finetune-lm", "train-classifier")]
    assert {spec.settings.training.seed for spec in drawing} == {77}  # type: ignore[attr-defined]
    assert {spec.settings.seed for spec in stage_specs(recipe) if spec.kind == "ingest"} == {77}  # type: ignore[attr-defined]


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
    settings = task_ingest(TaskSettings.model_validate(task), seed=1)
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
