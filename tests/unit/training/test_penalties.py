"""What is added to a classifier's loss, against plain means over the tokens that are pooled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.penalties import AddedLoss, Additions

SIZES = AWDLSTMSettings(embedding_size=5, hidden_size=7, num_layers=2)
LENGTHS = [11, 6, 1]


def _added(additions: Additions, max_length: int = 1400, *, counted: bool = True) -> tuple[Tensor, list[Tensor]]:
    """The added loss of three documents in chunks of 4, and what the encoder gives for each in one piece."""
    language_model = LanguageModel(20, SIZES, 1, seed=1)
    model = TextClassifier.from_language_model(
        language_model, 2, ClassifierSettings(bptt=4, max_length=max_length)
    ).eval()
    generator = torch.Generator().manual_seed(2)
    documents = [torch.randint(2, 20, (length,), generator=generator) for length in LENGTHS]
    tokens = torch.nn.utils.rnn.pad_sequence(documents, padding_value=1)
    added = AddedLoss(additions, model.encoder.embedding, torch.arange(20.0) / 50)
    model.encode(tokens, tokens != 1, watch=added.watch)
    outs = []
    for document in documents:
        out = model.encoder(document[:, None], model.encoder.initial_state(1)).raw_TBE[:, 0]
        scores = out @ model.encoder.embedding.T + torch.arange(20.0) / 50
        nats = torch.nn.functional.cross_entropy(scores[:-1], document[1:], reduction="none")
        outs.append(torch.cat([out, torch.cat([nats, torch.zeros(1)])[:, None]], 1).detach())
    return added.total(Group.single(), counted=counted), outs


@pytest.mark.parametrize("max_length", [1400, 3])
def test_activations(max_length: int) -> None:
    total, outs = _added(Additions(ar_alpha=2.0), max_length)
    pooled = torch.cat([out[-max_length:, :-1] for out in outs])
    assert total.item() == pytest.approx(2 * float(pooled.pow(2).mean()), rel=1e-5)


def test_changes_inside_chunks() -> None:
    total, outs = _added(Additions(tar_beta=3.0))
    changes = [out[t + 1, :-1] - out[t, :-1] for out in outs for t in range(len(out) - 1) if (t + 1) % 4]
    assert total.item() == pytest.approx(3 * float(torch.stack(changes).pow(2).mean()), rel=1e-5)


def test_the_language_models_own_loss() -> None:
    total, outs = _added(Additions(lm_weight=0.5))
    nats = torch.cat([out[:-1, -1] for out in outs])
    assert len(nats) == sum(LENGTHS) - 3
    assert total.item() == pytest.approx(0.5 * float(nats.mean()), rel=1e-5)


def test_a_rank_that_runs_along_adds_nothing() -> None:
    total, _ = _added(Additions(1.0, 1.0, 1.0), counted=False)
    assert total.item() == 0
    assert total.requires_grad
