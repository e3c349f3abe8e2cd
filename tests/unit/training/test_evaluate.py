"""Validation against a plain statement: the whole text through the model in one piece."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.evaluate import EvaluationLanes, evaluate_language_model

DOCUMENTS = [[2, 5, 6, 0], [2, 7], [2, 3, 4, 5, 0, 9], [2, 8, 8, 8]]
MODEL = LanguageModel(20, AWDLSTMSettings(embedding_size=5, hidden_size=6, num_layers=2), 1, seed=3)


def _plain(ids: list[int]) -> tuple[float, int]:
    tokens = torch.tensor(ids)
    with torch.no_grad():
        logits = MODEL(tokens[:-1, None], MODEL.encoder.initial_state(1)).logits_TBV[:, 0].double()
    loss = F.cross_entropy(logits, tokens[1:], reduction="sum")
    return float(loss), int((logits.argmax(1) == tokens[1:]).sum())


@pytest.mark.parametrize("window", [3, 70])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_one_lane_is_the_text_in_one_piece(make_stream, direction: str, window: int) -> None:
    stream = make_stream("a", DOCUMENTS)
    score = evaluate_language_model(MODEL, stream, EvaluationLanes(direction, 1, window))  # type: ignore[arg-type]
    ids = [token for document in DOCUMENTS for token in (document if direction == "forward" else document[::-1])]
    loss, correct = _plain(ids)
    assert score.loss_sum == pytest.approx(loss, rel=1e-6)
    assert (score.correct, score.tokens) == (correct, len(ids) - 1)
    assert (score.characters, score.unknown, score.unknown_bits) == (5 * 16, 2, 6.0)


def test_several_lanes_are_pieces_of_the_text_each_token_once(make_stream) -> None:
    stream = make_stream("a", DOCUMENTS)
    ids = [token for document in DOCUMENTS for token in document]
    targets = len(ids) - 1
    edges = [lane * targets // 4 for lane in range(5)]
    expected = sum(_plain(ids[edges[lane] : edges[lane + 1] + 1])[0] for lane in range(4))
    score = evaluate_language_model(MODEL, stream, EvaluationLanes("forward", 4, 2))
    assert score.loss_sum == pytest.approx(expected, rel=1e-6)
    assert score.tokens == targets


def test_dropout_is_off(make_stream) -> None:
    stream = make_stream("a", DOCUMENTS)
    lanes = EvaluationLanes("forward", 2)
    assert evaluate_language_model(MODEL, stream, lanes) == evaluate_language_model(MODEL, stream, lanes)
