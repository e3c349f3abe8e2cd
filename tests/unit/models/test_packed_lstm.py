"""The packed layers against the encoder that they stand for."""

from __future__ import annotations

import pytest
import torch

from ulmfit_dist.errors import InputError
from ulmfit_dist.models.awd_lstm import AWDLSTM
from ulmfit_dist.models.packed_lstm import LaneState, PackedLSTM, Precision, supported
from ulmfit_dist.models.qrnn import QRNN
from ulmfit_dist.models.settings import AWDLSTMSettings, QRNNSettings

STEPS, LANES, WORDS = 30, 5, 40
needs_int8 = pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="no products of int8 here")


@pytest.fixture(scope="module", params=[1, 2, 3])
def encoder(request: pytest.FixtureRequest) -> AWDLSTM:
    sizes = AWDLSTMSettings(embedding_size=6, hidden_size=11, num_layers=request.param)
    found = AWDLSTM(WORDS, sizes, 1, seed=5)
    with torch.no_grad():
        found.embedding.mul_(20)
        for weight in found.rnns.parameters():
            weight.mul_(2)
    return found


def _outputs(encoder: AWDLSTM, tokens: torch.Tensor, precision: Precision = "float32") -> torch.Tensor:
    packed = PackedLSTM(encoder, precision)
    state = LaneState(packed, tokens.shape[1])
    with torch.no_grad():
        return torch.stack([2 * state.step(packed.word_rows(step)) for step in tokens])


def _expected(encoder: AWDLSTM, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(encoder(tokens, encoder.initial_state(tokens.shape[1])).raw_TBE)


def _tokens() -> torch.Tensor:
    return torch.randint(WORDS, (STEPS, LANES), generator=torch.Generator().manual_seed(1))


def test_steps_equal_the_encoder(encoder: AWDLSTM) -> None:
    expected = _expected(encoder, _tokens())
    assert expected.abs().max() > 0.3
    torch.testing.assert_close(_outputs(encoder, _tokens()), expected, rtol=0, atol=2e-6)


@needs_int8
def test_int8_is_near_and_a_lane_does_not_depend_on_the_others(encoder: AWDLSTM) -> None:
    tokens = _tokens()
    found, expected = _outputs(encoder, tokens, "int8"), _expected(encoder, tokens)
    assert 0 < (found - expected).abs().max() < 0.1
    for lane in range(LANES):
        alone = _outputs(encoder, tokens[:, lane : lane + 1], "int8")
        torch.testing.assert_close(alone, found[:, lane : lane + 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", pytest.param("int8", marks=needs_int8)])
def test_a_cleared_lane_starts_anew_and_fewer_lanes_go_on(encoder: AWDLSTM, precision: Precision) -> None:
    packed, tokens = PackedLSTM(encoder, precision), _tokens()
    state = LaneState(packed, LANES)
    with torch.no_grad():
        for step in tokens[:9]:
            state.step(packed.word_rows(step))
        state.clear(torch.tensor([1]))
        found = torch.stack([2 * state.step(packed.word_rows(step[:3])) for step in tokens[9:]])
    whole, fresh = _outputs(encoder, tokens, precision)[9:], _outputs(encoder, tokens[9:], precision)
    torch.testing.assert_close(found[:, [0, 2]], whole[:, [0, 2]], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[:, 1], fresh[:, 1], rtol=0, atol=1e-6)


def test_other_encoders_are_not_taken(encoder: AWDLSTM) -> None:
    assert supported(encoder)
    assert not supported(QRNN(WORDS, QRNNSettings(embedding_size=6, hidden_size=8), 1))


def test_int8_needs_a_cpu_that_multiplies_it(encoder: AWDLSTM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with pytest.raises(InputError, match="no products of int8"):
        PackedLSTM(encoder, "int8")
