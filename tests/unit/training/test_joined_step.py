"""A step of several ranks, acted out in one process: the loss and gradients of one rank with the whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.joined_step import BatchLoss, JoinedStep, StepInput
from ulmfit_dist.training.objective import Objective
from ulmfit_dist.training.penalties import Additions

SIZES = AWDLSTMSettings(embedding_size=5, hidden_size=7, num_layers=2)
LENGTHS, TARGETS = [9, 7, 4], torch.tensor([0, 1, 1])


@dataclass(frozen=True)
class Acted(Group):
    """A rank whose gathered rows were computed before; gradients are joined by the test."""

    rows: Tensor | None = None

    def gather_lanes(self, local: Tensor, num_lanes: int) -> Tensor:
        assert self.rows is not None
        return self.rows.unsqueeze(0)

    def wrap(self, module: nn.Module) -> nn.Module:
        return module


def _model() -> TextClassifier:
    language_model = LanguageModel(20, SIZES, 1, seed=1)
    return TextClassifier.from_language_model(language_model, 2, ClassifierSettings(bptt=4, head_hidden=6), seed=2)


def _batch(lanes: range) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    documents = [torch.randint(2, 20, (length,), generator=generator) for length in LENGTHS]
    tokens = torch.nn.utils.rnn.pad_sequence([documents[lane] for lane in lanes], padding_value=1)
    return tokens, tokens != 1


def _gradients(group: Group, lanes: range) -> tuple[Tensor, dict[str, Tensor]]:
    model = _model()
    step = JoinedStep(BatchLoss(model, Objective("multiclass", 0.1), Additions(), None, group))
    step.join()
    total, loss = step(StepInput(*_batch(lanes or range(1)), TARGETS, DropoutMasks(1, 0, lanes or range(1), 3)))
    total.backward()
    return loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_make_the_step_of_one(world_size: int) -> None:
    loss, expected = _gradients(Group.single(), range(3))
    rows = _model().encode(*_batch(range(3)), DropoutMasks(1, 0, range(3), 3)).detach()
    ranks = []
    for rank in range(world_size):
        group = Acted(rank, world_size, rows)
        own_loss, gradients = _gradients(group, group.lanes(3))
        torch.testing.assert_close(own_loss, loss)
        ranks.append(gradients)
    for name, gradient in expected.items():
        # DDP's mean; with five ranks two have no document at all.
        torch.testing.assert_close(sum(one[name] for one in ranks) / world_size, gradient, msg=name)
