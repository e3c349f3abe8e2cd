"""The named schedules, stage by stage."""

from __future__ import annotations

from typing import Any

import pytest

from ulmfit_dist.finetune.unfreezing import unfreezing_stages, with_unfreezing
from ulmfit_dist.training.classifier import ClassifierTrainingSettings
from ulmfit_dist.training.schedule import Schedule


def test_named_schedules() -> None:
    def shape(name: Any) -> list[tuple[int, int, float]]:
        return [(stage.groups, stage.epochs, stage.lr) for stage in unfreezing_stages(name, 5, epochs=3, lr=0.1)]

    assert shape("2018") == [(1, 1, 0.1), (2, 1, 0.1), (0, 3, 0.1)]
    assert shape("paper") == [(1, 1, 0.1), (2, 1, 0.1), (3, 1, 0.1), (4, 1, 0.1), (0, 3, 0.1)]
    assert shape("v1") == [(1, 1, 0.1), (2, 1, 0.05), (3, 1, 0.025), (0, 3, pytest.approx(0.005))]


def test_one_cycle_of_all_layers() -> None:
    settings = with_unfreezing(ClassifierTrainingSettings(), "multifit", 5, epochs=8, lr=0.02)
    assert [(stage.trained(5), stage.epochs, stage.lr) for stage in settings.stages] == [(range(5), 8, 0.02)]
    assert (settings.schedule.kind, settings.schedule.momentum) == ("one_cycle", (0.8, 0.7))
    own = Schedule(kind="one_cycle", div=10)
    given = ClassifierTrainingSettings(schedule=own)
    assert with_unfreezing(given, "multifit", 5, epochs=1, lr=0.1).schedule == own


def test_chain_thaw_goes_layer_by_layer_from_the_lowest() -> None:
    stages = unfreezing_stages("chain-thaw", 5, epochs=2, lr=0.1)
    assert [list(stage.trained(5)) for stage in stages] == [[4], [0], [1], [2], [3], [4], [0, 1, 2, 3, 4]]
    assert [stage.epochs for stage in stages] == [1] * 6 + [2]


def test_stages_of_ones_own_stay() -> None:
    given = ClassifierTrainingSettings()
    assert with_unfreezing(given, "training", 5, epochs=9, lr=9.0) is given
