"""The stages of several runs: what settings leave alike is one stage, and each run reads its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster.grid import load_sweep
from ulmfit_dist.cluster.pipeline import stage_specs
from ulmfit_dist.cluster.plan import Output, Plan, SourceDigests, StageSpec, make_plan
from ulmfit_dist.cluster.recipe import load_run_recipe
from ulmfit_dist.cluster.union import checked_specs, sweep_specs
from ulmfit_dist.config import data_folder
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.compare import CompareSettings
from ulmfit_dist.stages import STAGES

QUICKSTART = data_folder("launch") / "quickstart.toml"
ONE = ("units=['word']", "directions=['forward']")


def _specs(*overrides: str) -> dict[str, StageSpec]:
    return {spec.name: spec for spec in sweep_specs(load_sweep(QUICKSTART, [*ONE, *overrides]))}


def _plan(folder: Path, *overrides: str) -> Plan:
    return make_plan(list(_specs(*overrides).values()), STAGES, folder, SourceDigests(None))


def _count(specs: dict[str, StageSpec]) -> dict[str, int]:
    kinds = [spec.kind for spec in specs.values()]
    return {kind: kinds.count(kind) for kind in kinds}


def test_one_run_has_the_stages_of_its_recipe() -> None:
    assert list(_specs().values()) == stage_specs(load_run_recipe(QUICKSTART, list(ONE)))


def test_a_seed_of_the_classifier_leaves_everything_before_it_shared() -> None:
    specs = _specs("grid.classifier.training.seed=[1, 2, 3]")
    assert _count(specs) == {
        "ingest": 2,
        "train-tokenizer": 1,
        "tokenize": 1,
        "pretrain": 1,
        "finetune-lm": 1,
        "train-classifier": 3,
        "ensemble": 3,
        "baseline": 1,
        "leakage": 1,
        "evaluate": 3,
        "compare": 1,
    }
    assert specs["classifier-word-forward@seed=2"].inputs["model"] == Output("finetune-word-forward", "model")
    assert specs["evaluate@seed=2"].inputs["ensemble"] == Output("ensemble@seed=2", "ensemble")


def test_the_recipes_seed_moves_everything() -> None:
    count = _count(_specs("grid.seed=[1, 2]"))
    assert count == dict.fromkeys(count, 2) | {"ingest": 4, "compare": 1}


def test_each_run_of_the_union_is_the_run_by_itself(tmp_path: Path) -> None:
    together = _plan(tmp_path, "grid.seed=[1, 2]", "grid.classifier.train_size=[30, 60]")
    for seed in (1, 2):
        for size in (30, 60):
            alone = _plan(tmp_path, f"seed={seed}", f"classifier.train_size={size}")
            # The folders too: a run that was done alone is done in the sweep.
            folders = {stage.folder for stage in alone.stages.values()}
            assert folders < {stage.folder for stage in together.stages.values()}
            label = f"@seed={seed},train_size={size}"
            assert together.stages[f"evaluate{label}"].fingerprint == alone.stages["evaluate"].fingerprint


def test_stages_that_some_runs_share_are_named_by_what_these_have_in_common() -> None:
    names = set(_specs("grid.finetune.drop_mult=[0.1, 0.2]", "grid.classifier.training.seed=[1, 2]"))
    assert {
        "pretrain-word-forward",
        "finetune-word-forward@drop_mult=0.1",
        "finetune-word-forward@drop_mult=0.2",
    } < names
    assert "classifier-word-forward@drop_mult=0.2,seed=1" in names


def test_variants_that_share_a_stage_keep_its_plain_name() -> None:
    variants = ["variants.full.seed=1", "variants.chain.classifier.unfreezing='chain-thaw'", "variants.raw.seed=1"]
    names = set(_specs("seed=1", *variants, "variants.raw.finetune.training.epochs=0"))
    finetuned = {name for name in names if name.startswith("finetune")}
    assert finetuned == {"finetune-word-forward", "finetune-word-forward@raw"}
    assert {f"classifier-word-forward@{one}" for one in ("full", "chain", "raw")} < names


def test_seeds_and_folds_repeat_and_the_rest_is_compared() -> None:
    specs = _specs("task.folds=2", "grid.classifier.training.seed=[1, 2]", "grid.classifier.lr=[0.1, 0.2]")
    settings = specs["compare"].settings
    assert isinstance(settings, CompareSettings)
    assert [(run.label, run.repeat, run.fold) for run in settings.runs[:4]] == [
        ("lr=0.1", "seed=1", 0),
        ("lr=0.1", "seed=1", 1),
        ("lr=0.2", "seed=1", 0),
        ("lr=0.2", "seed=1", 1),
    ]
    assert specs["compare"].inputs["run-00001"] == Output("evaluate@seed=1,lr=0.1,fold=1", "metrics.json")
    assert len({spec.settings.rotation for spec in specs.values() if spec.name.startswith("ingest-task")}) == 2  # type: ignore[attr-defined]


def test_language_models_alone_are_not_compared(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("[corpus]\nsources = ['a.csv']\n[grid]\nseed = [1, 2]\n")
    assert "compare" not in {spec.name for spec in sweep_specs(load_sweep(path, []))}


def test_every_source_of_every_run_is_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no text.*\[corpus\]"):
        checked_specs(load_sweep(None, []))
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        checked_specs(load_sweep(QUICKSTART, [f"grid.corpus.sources=[['{QUICKSTART}'], ['nowhere.csv']]"]))
    checked_specs(load_sweep(QUICKSTART, ["task.folds=4"]))
