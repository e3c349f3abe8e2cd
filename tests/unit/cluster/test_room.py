"""Room for ranks: what a cluster can never hold is refused with the setting that asks for it."""

from __future__ import annotations

import pytest

from ulmfit_dist.cluster.ledger import Capacity
from ulmfit_dist.cluster.recipe import ResourceSettings
from ulmfit_dist.cluster.room import ON_RANKS, check_room
from ulmfit_dist.errors import InputError
from ulmfit_dist.stages import STAGES
from ulmfit_dist.training.ranks import RankSettings


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("pretrain", {"workers": 5}, r"5 ranks of 1 CPU each .* 4 CPU;.*resources.pretrain_workers \(at most 4\)"),
        ("train-classifier", {"workers": 5}, r"resources.classifier_workers \(at most 4\)"),
        ("train-classifier", {"workers": 2, "cpus_per_worker": 3}, r"2 ranks of 3 CPU .*_workers \(at most 1\)"),
        ("pretrain", {"workers": 1, "cpus_per_worker": 4.5}, r"lower resources.pretrain_cpus_per_worker, or join"),
        ("pretrain", {"workers": 3, "gpus_per_worker": 1}, r"3 ranks of 1 GPU .* 2 GPU;.*_workers \(at most 2\)"),
        ("train-classifier", {"workers": 2, "gpus_per_worker": 4}, r"lower resources.task_gpus"),
        ("pretrain", {"workers": 9, "min_workers": 5}, r"5 ranks of 1 CPU"),
    ],
)  # fmt: skip
def test_ranks_that_can_never_fit_are_refused(kind: str, settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        check_room(kind, RankSettings.model_validate(settings), Capacity(4, 2))
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    "settings",
    [{"workers": 4}, {"workers": 9, "min_workers": 4}, {"workers": 2, "cpus_per_worker": 2, "gpus_per_worker": 1}],
)
def test_what_just_fits_is_left_alone(settings: dict[str, float]) -> None:
    for kind in ON_RANKS:
        check_room(kind, RankSettings.model_validate(settings), Capacity(4, 2))


def test_these_are_the_kinds_and_settings_there_are() -> None:
    assert set(ON_RANKS) <= set(STAGES)
    for kind in ON_RANKS:
        with pytest.raises(InputError) as error:
            check_room(kind, RankSettings(workers=1), Capacity(0, 0))
        named = error.value.do.split("resources.")[1].split(",")[0]
        assert named in ResourceSettings.model_fields
