"""What is saved, and that hidden states go back to the lanes they came from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ulmfit_dist.errors import InputError, StoppedError
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.curves import Curves
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.groups import OptimizerSettings, build_optimizer, set_rates
from ulmfit_dist.training.saving import Progress, SavedTraining

SIZES = AWDLSTMSettings(embedding_size=3, hidden_size=4, num_layers=2)


def _progress(lanes: int, seed: int = 0) -> Progress:
    model = LanguageModel(9, SIZES, 1, seed)
    optimizer = build_optimizer(model.layer_groups(), [1.0] * 3, OptimizerSettings())
    return Progress(model, optimizer, Curves(1), model.encoder.initial_state(lanes))


def _trained(lanes: int) -> Progress:
    progress = _progress(lanes, seed=1)
    set_rates(progress.optimizer, 0.1, None)
    out = progress.model(torch.full((3, lanes), 5), progress.hidden)
    out.logits_TBV.pow(2).sum().backward()
    progress.optimizer.step()
    progress.keep_best()
    # Each lane's state holds the lane's number.
    for pair in progress.hidden:
        for part in pair:
            part.copy_(torch.arange(float(lanes))[None, :, None].expand_as(part))
    return progress


def test_another_number_of_ranks_takes_its_own_lanes(tmp_path: Path) -> None:
    saved = SavedTraining(CheckpointFolder(tmp_path), Group(), "same")
    source = _trained(7)
    saved.save(4, source, 7)
    for rank in range(3):
        lanes = Group(rank, 3).lanes(7)
        progress = _progress(len(lanes))
        assert saved.restore(progress, lanes) == 4
        for pair in progress.hidden:
            for part in pair:
                assert part[0, :, 0].tolist() == list(lanes)
        for name, tensor in source.model.state_dict().items():
            assert torch.equal(progress.model.state_dict()[name], tensor)
            assert torch.equal(progress.best[name], source.best[name])


def test_nothing_saved_is_step_zero(tmp_path: Path) -> None:
    progress = _progress(2)
    assert SavedTraining(CheckpointFolder(tmp_path / "none"), Group(), "x").restore(progress, range(2)) == 0


def test_checkpoint_says_what_it_is(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    SavedTraining(folder, Group(), "mine").save(4, _trained(2), 2)
    found = folder.latest()
    assert found is not None
    assert (found.state["step"], found.state["world_size"], found.state["identity"]) == (4, 1, "mine")
    assert "pure function" in found.state["random_state"]
    with pytest.raises(InputError, match="another training"):
        SavedTraining(folder, Group(), "other").restore(_progress(2), range(2))


def test_best_weights_come_back(tmp_path: Path) -> None:
    progress = _trained(2)
    best = {name: tensor.clone() for name, tensor in progress.model.state_dict().items()}
    with torch.no_grad():
        progress.model.encoder.embedding.add_(1.0)  # type: ignore[union-attr, operator]
    progress.use_best()
    assert all(torch.equal(tensor, best[name]) for name, tensor in progress.model.state_dict().items())


def test_stop_names_the_step(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="after step 12"):
        SavedTraining(CheckpointFolder(tmp_path), Group(), "x").stopped(12)
