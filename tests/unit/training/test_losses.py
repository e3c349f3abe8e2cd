"""The objective against the formulas, and its exactness under any split of the lanes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ulmfit_dist.models.encoder import EncoderOutput
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.losses import Denominators, Penalties, Targets, activation_sum, lm_loss, temporal_sum

T, B, E, V = 6, 4, 5, 11
MODEL = LanguageModel(V, AWDLSTMSettings(embedding_size=E, hidden_size=4, num_layers=1), 1)


def _out() -> tuple[EncoderOutput, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    raw, dropped = (torch.randn(T, B, E, generator=generator) for _ in range(2))
    return EncoderOutput(raw, dropped, []), torch.randint(0, V, (T, B), generator=generator)


def _cross_entropy(dropped: torch.Tensor, ids: torch.Tensor) -> float:
    logits = F.linear(dropped.reshape(-1, E), MODEL.decoder_weight, MODEL.decoder_bias)
    return float(F.cross_entropy(logits, ids.reshape(-1)).detach())


def test_total_is_cross_entropy_plus_ar_plus_tar() -> None:
    out, ids = _out()
    counts = Denominators.of_window(T * B, B, 1)
    loss = lm_loss(MODEL, out, Targets(ids.reshape(-1), None), Penalties(2.0, 1.0), counts)
    ar = 2.0 * float(out.dropped_TBE.pow(2).mean())
    tar = 1.0 * float((out.raw_TBE[1:] - out.raw_TBE[:-1]).pow(2).mean())
    assert float(loss.total.detach()) == pytest.approx(_cross_entropy(out.dropped_TBE, ids) + ar + tar, rel=1e-6)
    assert float(loss.cross_entropy_sum) == pytest.approx(T * B * _cross_entropy(out.dropped_TBE, ids), rel=1e-6)


def test_penalties_at_zero_leave_cross_entropy() -> None:
    out, ids = _out()
    counts = Denominators.of_window(T * B, B, 1)
    loss = lm_loss(MODEL, out, Targets(ids.reshape(-1), None), Penalties(0.0, 0.0), counts)
    assert float(loss.total.detach()) == pytest.approx(_cross_entropy(out.dropped_TBE, ids), rel=1e-6)


@pytest.mark.parametrize("short", [0, 3], ids=["full window", "three lanes one shorter"])
@pytest.mark.parametrize("cuts", [[1], [2], [1, 3], [1, 2, 3]])
def test_average_over_ranks_is_the_loss_of_one_rank_for_uneven_lanes(short: int, cuts: list[int]) -> None:
    out, ids = _out()
    valid = torch.ones(T, B, dtype=torch.bool)
    valid[-1, :short] = False
    whole = _loss_of_lanes(out, ids, valid, slice(0, B), 1)
    edges = [0, *cuts, B]
    parts = [_loss_of_lanes(out, ids, valid, slice(low, high), len(edges) - 1) for low, high in pairwise(edges)]
    assert sum(parts) / len(parts) == pytest.approx(whole, rel=1e-6)


def _loss_of_lanes(out: EncoderOutput, ids: torch.Tensor, valid: torch.Tensor, lanes: slice, world_size: int) -> float:
    mine = valid[:, lanes]
    local = EncoderOutput(out.raw_TBE[:, lanes], out.dropped_TBE[:, lanes], [])
    counts = Denominators.of_window(int(valid.sum()), B, world_size)
    return float(lm_loss(MODEL, local, Targets(ids[:, lanes][mine], mine), Penalties(), counts).total.detach())


def test_masked_places_count_in_no_term() -> None:
    out, ids = _out()
    valid = torch.ones(T, B, dtype=torch.bool)
    valid[-1, 1:] = False
    kept = out.dropped_TBE[valid]
    expected = _cross_entropy(kept, ids[valid]) + 2.0 * float(kept.pow(2).mean())
    change = (out.raw_TBE[1:] - out.raw_TBE[:-1])[valid[1:]]
    assert _loss_of_lanes(out, ids, valid, slice(0, B), 1) == pytest.approx(
        expected + float(change.pow(2).mean()), rel=1e-6
    )


def test_a_window_of_one_step_has_no_pairs() -> None:
    assert Denominators.of_window(3, 4, 1).pairs == 0
    out, ids = _out()
    single = EncoderOutput(out.raw_TBE[:1], out.dropped_TBE[:1], [])
    counts = Denominators.of_window(B, B, 1)
    loss = lm_loss(MODEL, single, Targets(ids[0], None), Penalties(), counts)
    assert torch.isfinite(loss.total)


def test_sums_by_hand() -> None:
    assert float(activation_sum(torch.tensor([[1.0, 2.0], [3.0, 0.0]]))) == 14
    raw = torch.tensor([[[0.0]], [[2.0]], [[5.0]]])
    assert float(temporal_sum(raw, None)) == 4 + 9
    assert float(temporal_sum(raw, torch.tensor([[True], [True], [False]]))) == 4


def test_dense_targets_stand_in_their_places() -> None:
    valid = torch.tensor([[True, True], [False, True]])
    assert Targets(torch.tensor([4, 5, 6]), valid).dense((2, 2)).tolist() == [[4, 5], [-1, 6]]
    assert Targets(torch.tensor([4, 5, 6, 7]), None).dense((2, 2)).tolist() == [[4, 5], [6, 7]]
