"""Measuring a language model on a token stream, exactly once a token, split over the ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ulmfit_dist.corpus.lanes import Direction, LaneReader, epoch_order
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.models.decoder_loss import decoder_scores
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.training.device import autocast
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.metrics import LMScore
from ulmfit_dist.training.windows import prefetched, read_window


@dataclass(frozen=True)
class EvaluationLanes:
    """How the stream is laid out for measuring: few lanes cut few contexts, many are fast."""

    direction: Direction
    num_lanes: int = 16
    window: int = 70


@torch.no_grad()
def evaluate_language_model(
    model: LanguageModel, stream: TokenStream, lanes: EvaluationLanes, group: Group | None = None
) -> LMScore:
    """Return the sums over every target of the stream; the same on every rank."""
    group = group or Group.single()
    device = model.decoder_weight.device
    order = epoch_order(stream.num_documents, 0, 0, shuffle=False)
    reader = LaneReader(stream, order, lanes.num_lanes, lanes.direction)
    mine = group.lanes(lanes.num_lanes)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    if len(mine):
        starts = range(0, reader.max_lane_length, lanes.window)
        places = [(start, min(lanes.window, reader.max_lane_length - start)) for start in starts]
        sums = _sums(model, reader, places, mine)
    loss_sum, correct = group.total(sums).tolist()
    return LMScore(loss_sum, int(correct), reader.num_targets, stream.characters, stream.unknown, stream.unknown_bits)


def _sums(model: LanguageModel, reader: LaneReader, places: list[tuple[int, int]], lanes: range) -> torch.Tensor:
    device = model.decoder_weight.device
    state = model.encoder.initial_state(len(lanes), device)
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for _, window in prefetched(lambda place: read_window(reader, place, lanes, device), places):
        with autocast(device):
            out = model.encoder(window.inputs, state)
        state = out.state
        kept = window.targets.select(out.dropped_TBE)
        scores = decoder_scores(kept, model.decoder_weight, model.decoder_bias, window.targets.ids_N)
        sums += torch.stack([scores.loss, scores.correct.double()])
    return sums
