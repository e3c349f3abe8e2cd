"""Estimates: exact for what is done, within a factor of three of the measured quickstart for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster.estimate import estimates
from ulmfit_dist.cluster.grid import load_sweep
from ulmfit_dist.cluster.plan import Plan, SourceDigests, make_plan
from ulmfit_dist.cluster.union import sweep_specs
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


def _plan(folder: Path, *overrides: str) -> Plan:
    return make_plan(sweep_specs(load_sweep(QUICKSTART, list(overrides))), STAGES, folder, SourceDigests(None))


@pytest.mark.parametrize(("name", "seconds"), MEASURED.items())
def test_quickstart_is_estimated_within_a_factor_of_three(name: str, seconds: float, tmp_path: Path) -> None:
    guess = estimates(_plan(tmp_path))[name]
    assert seconds / 3 < guess.seconds < 3 * seconds
    assert 100_000 < guess.tokens < 2_000_000


def test_twice_the_epochs_cost_twice_the_training(tmp_path: Path) -> None:
    times = [
        estimates(_plan(tmp_path, f"pretrain.training.epochs={epochs}"))["pretrain-word-forward"].seconds
        for epochs in (1, 2, 3)
    ]
    assert times[2] - times[1] == pytest.approx(times[1] - times[0])


def test_what_is_done_is_exact(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    stage = plan.stages["pretrain-word-forward"]
    write_json(stage.folder / "stage.json", {"fingerprint": stage.fingerprint, "seconds": 12.5})
    assert estimates(plan)["pretrain-word-forward"].seconds == 12.5


def test_unlabelled_text_costs_as_its_characters(tmp_path: Path) -> None:
    task = str(QUICKSTART.parent / "data" / "quickstart" / "mr.csv.gz")
    name, share = "finetune-word-forward", 0.8  # of the task's one source that is the training split
    tokens = [estimates(_plan(tmp_path, *more))[name].tokens for more in ((), (f"task.unlabelled={task}",))]
    assert tokens[1] / tokens[0] == pytest.approx((share + 1) / share)


def test_every_stage_of_a_sweep_is_estimated(tmp_path: Path) -> None:
    plan = _plan(tmp_path, "grid.seed=[1, 2]", "units=['word']")
    found = estimates(plan)
    assert set(found) == set(plan.stages)
    assert found["classifier-word-forward@seed=1"] == found["classifier-word-forward@seed=2"]
    assert found["evaluate@seed=2"].tokens > 0


def test_a_part_of_the_training_documents_costs_as_its_number(tmp_path: Path) -> None:
    plan = _plan(tmp_path, "grid.classifier.train_size=[100, 200, 1000000, 0]", "finetune.labelled_only=true")
    found = estimates(plan)
    for stage in ("finetune", "classifier"):
        small, twice, most, every = (
            found[f"{stage}-word-forward@train_size={size}"].tokens for size in (100, 200, 1_000_000, 0)
        )
        assert twice == pytest.approx(2 * small)
        assert most == every > 10 * small
    # 107 characters a sentence of the polarity data set, five a token, and the epochs of the recipe.
    settings = plan.stages["classifier-word-forward@train_size=100"].spec.settings
    assert found["classifier-word-forward@train_size=100"].tokens == pytest.approx(
        100 * 107 / 5 * (settings.epochs + 2),  # type: ignore[attr-defined]
        rel=0.2,
    )
