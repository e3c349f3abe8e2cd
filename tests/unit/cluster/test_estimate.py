"""Estimates: exact for what is done, within a factor of three of the measured quickstart for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster.estimate import estimate
from ulmfit_dist.cluster.pipeline import stage_specs
from ulmfit_dist.cluster.plan import SourceDigests, make_plan
from ulmfit_dist.cluster.recipe import load_run_recipe
from ulmfit_dist.config import data_folder
from ulmfit_dist.files import write_json
from ulmfit_dist.stages import STAGES

QUICKSTART = data_folder("launch") / "quickstart.toml"
# BENCHMARKS.md, quickstart on two cores: seconds of a stage, two trainings or fine-tunings side by side.
MEASURED = {
    "pretrain-word-forward": 110.0,
    "pretrain-subword-backward": 107.0,
    "finetune-word-forward": 36.0,
    "classifier-subword-forward": 37.0,
}


@pytest.mark.parametrize(("name", "seconds"), MEASURED.items())
def test_quickstart_is_estimated_within_a_factor_of_three(name: str, seconds: float, tmp_path: Path) -> None:
    recipe = load_run_recipe(QUICKSTART, [])
    plan = make_plan(stage_specs(recipe), STAGES, tmp_path, SourceDigests(None))
    guess = estimate(plan.stages[name], recipe, plan)
    assert seconds / 3 < guess.seconds < 3 * seconds
    assert 100_000 < guess.tokens < 2_000_000


def test_twice_the_epochs_cost_twice_the_training(tmp_path: Path) -> None:
    times = []
    for epochs in (1, 2, 3):
        recipe = load_run_recipe(QUICKSTART, [f"pretrain.training.epochs={epochs}"])
        plan = make_plan(stage_specs(recipe), STAGES, tmp_path, SourceDigests(None))
        times.append(estimate(plan.stages["pretrain-word-forward"], recipe, plan).seconds)
    assert times[2] - times[1] == pytest.approx(times[1] - times[0])


def test_what_is_done_is_exact(tmp_path: Path) -> None:
    recipe = load_run_recipe(QUICKSTART, [])
    plan = make_plan(stage_specs(recipe), STAGES, tmp_path, SourceDigests(None))
    stage = plan.stages["pretrain-word-forward"]
    write_json(stage.folder / "stage.json", {"fingerprint": stage.fingerprint, "seconds": 12.5})
    assert estimate(stage, recipe, plan).seconds == 12.5
