"""Documents in lanes: each one whole, in its place, with the scores that it has alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from ulmfit_dist.models import document_lanes
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.document_lanes import fill_lanes, plan_lanes, score_documents
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings

LENGTHS = [1, 2, 5, 6, 7, 39, 40, 41, 300, 3, 3, 80, 1, 12]


def _documents() -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    return [generator.integers(3, 17, length) for length in LENGTHS]


def _model(pooling: Literal["concat", "last"] = "concat") -> TextClassifier:
    sizes = AWDLSTMSettings(embedding_size=6, hidden_size=10, num_layers=2)
    settings = ClassifierSettings(head_hidden=8, bptt=6, max_length=40, pooling=pooling)
    model = TextClassifier.from_language_model(LanguageModel(20, sizes, 1, seed=1), 2, settings, seed=1).eval()
    with torch.no_grad():
        model.encoder.embedding.mul_(20)
        model.head.linears[0].weight.mul_(20)  # type: ignore[operator]
    return model


def _alone(model: TextClassifier, document: np.ndarray) -> torch.Tensor:
    tokens = torch.from_numpy(document)[:, None]
    with torch.no_grad():
        return torch.as_tensor(model(tokens, torch.ones_like(tokens, dtype=torch.bool)))


@pytest.mark.parametrize("lanes", [1, 3, 5, 100])
def test_every_document_lies_whole_in_one_lane(lanes: int) -> None:
    documents = _documents()
    plan = plan_lanes(documents, lanes, 40)
    found = {}
    for step, rows in plan.ends.items():
        for lane, index in rows.tolist():
            begin = step + 1 - len(documents[index])
            found[index] = plan.tokens_TB[begin : step + 1, lane].tolist()
            assert lane < plan.active_T[step]
    assert found == {index: document.tolist() for index, document in enumerate(documents)}
    loads = [
        max((step + 1 for step, rows in plan.ends.items() if lane in rows[:, 0]), default=0) for lane in range(lanes)
    ]
    assert sum(loads) == sum(LENGTHS)
    assert max(loads) == max(300, loads[0])
    assert loads == sorted(loads, reverse=True)


def test_pooling_starts_over_before_the_last_tokens_of_a_long_document() -> None:
    documents = _documents()
    plan = plan_lanes(documents, 5, 40)
    ends = {index: step for step, rows in plan.ends.items() for _, index in rows.tolist()}
    starts = {index: step for step, rows in plan.restarts.items() for _, index in rows.tolist()}
    assert starts == {index: ends[index] - 39 for index, length in enumerate(LENGTHS) if length > 40}


def test_steps_have_few_shapes() -> None:
    plan = plan_lanes([np.arange(1, 2 + i) for i in range(256)], 256, 400)
    assert plan.tokens_TB.shape == (256, 256)
    assert set(plan.active_T) == {1, 2, 4, 8, *range(16, 257, 16)}
    assert all(lanes >= 256 - step for step, lanes in enumerate(plan.active_T))


@pytest.mark.parametrize("pooling", ["concat", "last"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_document_in_any_company_has_the_score_of_the_plain_model(
    threads: int, pooling: Literal["concat", "last"], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, documents = _model(pooling), _documents()
    expected = torch.cat([_alone(model, document) for document in documents])
    assert expected.std(0).min() > 0.05
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for few, wave, rows in ((64, 10**6, 10**6), (3, 10**6, 4000), (2, 60, 10**6)):
            monkeypatch.setattr(document_lanes, "_FEWEST", few)
            monkeypatch.setattr(document_lanes, "_MOST", few)
            monkeypatch.setattr(document_lanes, "_WAVE_TOKENS", wave)
            monkeypatch.setattr(document_lanes, "_ROW_BYTES", rows)
            for order in (range(14), range(13, -1, -1), [4, 8, 0, 7]):
                found = score_documents(model, [documents[i] for i in order])
                assert float((found - expected[list(order)]).abs().max()) <= 1e-5
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_few_documents_or_one_long_one_do_not_fill_the_lanes() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert fill_lanes([np.arange(9)] * 256)
        assert not fill_lanes([np.arange(9)] * 255)
        assert not fill_lanes([np.arange(9)] * 256 + [np.arange(5000)])
    finally:
        torch.set_num_threads(before)


def test_no_document_gives_no_score() -> None:
    assert score_documents(_model(), []).shape == (0, 2)
