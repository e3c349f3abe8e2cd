"""What holds for every encoder: dropouts, the state from window to window, initial weights, layer groups."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.models.encoder import Encoder, State, detach_state
from ulmfit_dist.models.language_model import make_encoder
from ulmfit_dist.models.settings import EncoderSettings

VOCAB, PAD, LANES = 23, 1, 4
DROPOUTS = {
    "output_dropout": 0.3,
    "hidden_dropout": 0.4,
    "input_dropout": 0.2,
    "embedding_dropout": 0.3,
    "weight_dropout": 0.5,
}


def _settings(kind: str, **changes: object) -> EncoderSettings:
    sizes = {"encoder": kind, "embedding_size": 6, "hidden_size": 9, "num_layers": 3}
    return EncoderSettings.model_validate({**sizes, **DROPOUTS, **changes})


def _encoder(kind: str, seed: int = 5, **changes: object) -> Encoder:
    return make_encoder(VOCAB, _settings(kind, **changes), PAD, seed)


def _tokens(length: int) -> Tensor:
    return torch.randint(2, VOCAB, (length, LANES), generator=torch.Generator().manual_seed(length))


def _masks() -> DropoutMasks:
    return DropoutMasks(11, 0, range(LANES), LANES)


def _double(state: State) -> State:
    return [(first.double(), second.double()) for first, second in state]


both = pytest.mark.parametrize("kind", ["awd_lstm", "qrnn"])


@both
def test_locked_dropout_is_constant_over_time_and_differs_between_lanes(kind: str) -> None:
    encoder = _encoder(kind, weight_dropout=0, embedding_dropout=0)
    out = encoder(_tokens(8), encoder.initial_state(LANES), _masks())
    factor = (out.dropped_TBE / out.raw_TBE).detach()
    torch.testing.assert_close(factor, factor[:1].expand_as(factor))
    assert not torch.equal(factor[0, 0] == 0, factor[0, 1] == 0)


@both
@pytest.mark.parametrize("name", DROPOUTS)
def test_each_dropout_changes_the_output_and_none_changes_nothing(kind: str, name: str) -> None:
    off: dict[str, object] = dict.fromkeys(DROPOUTS, 0)
    encoder = _encoder(kind, **{**off, name: 0.5})
    tokens, state = _tokens(8), encoder.initial_state(LANES)
    clean = encoder(tokens, state)
    assert torch.equal(clean.raw_TBE, clean.dropped_TBE)
    assert not torch.allclose(encoder(tokens, state, _masks()).dropped_TBE, clean.dropped_TBE)
    without = _encoder(kind, **off)
    assert torch.equal(without(tokens, state, _masks()).dropped_TBE, clean.dropped_TBE)


@both
def test_a_window_cut_anywhere_gives_the_same_outputs_and_state(kind: str) -> None:
    encoder, tokens = _encoder(kind).double(), _tokens(10)
    start = _double(encoder.initial_state(LANES))
    whole = encoder(tokens, start)
    for cut in range(1, 10):
        first = encoder(tokens[:cut], start)
        second = encoder(tokens[cut:], detach_state(first.state))
        torch.testing.assert_close(torch.cat([first.raw_TBE, second.raw_TBE]), whole.raw_TBE)
        torch.testing.assert_close(second.state, whole.state)


@both
def test_token_by_token_is_the_whole_window(kind: str) -> None:
    encoder, tokens = _encoder(kind).double(), _tokens(7)
    state = _double(encoder.initial_state(LANES))
    whole, outputs = encoder(tokens, state), []
    for token in tokens:
        out = encoder(token[None], state)
        outputs.append(out.raw_TBE)
        state = out.state
    torch.testing.assert_close(torch.cat(outputs), whole.raw_TBE)
    torch.testing.assert_close(state, whole.state)


@both
def test_lanes_do_not_see_each_other_and_the_state_has_them_in_dimension_1(kind: str) -> None:
    encoder, tokens = _encoder(kind).double(), _tokens(5)
    together = encoder(tokens, _double(encoder.initial_state(LANES)))
    for lane in range(LANES):
        alone = encoder(tokens[:, lane : lane + 1], _double(encoder.initial_state(1)))
        torch.testing.assert_close(alone.raw_TBE, together.raw_TBE[:, lane : lane + 1])
        expected = [(first[:, lane : lane + 1], second[:, lane : lane + 1]) for first, second in together.state]
        torch.testing.assert_close(alone.state, expected)


@both
def test_a_detached_state_has_no_graph(kind: str) -> None:
    encoder = _encoder(kind)
    state = encoder(_tokens(3), encoder.initial_state(LANES)).state
    assert any(part.requires_grad for pair in state for part in pair)
    assert not any(part.requires_grad for pair in detach_state(state) for part in pair)


@both
def test_padding_row_learns_nothing_from_being_read(kind: str) -> None:
    encoder = _encoder(kind)
    tokens = torch.full((3, LANES), PAD)
    encoder(tokens, encoder.initial_state(LANES)).raw_TBE.sum().backward()
    assert encoder.embedding.grad is not None
    assert not encoder.embedding.grad.any()


@both
def test_initial_weights_follow_from_the_seed_alone(kind: str) -> None:
    torch.manual_seed(3)
    one = _encoder(kind)
    torch.manual_seed(4)
    two, other = _encoder(kind), _encoder(kind, seed=6)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name])
        assert not torch.equal(tensor, other.state_dict()[name])
    assert float(one.embedding.detach().abs().max()) <= 0.1
    for layer in one.layers():
        # torch's LSTM: 1/sqrt(H); torch's linear layer, a QRNN's gates: 1/sqrt(number of inputs).
        highest = max(float(parameter.detach().abs().max()) for parameter in layer.parameters())
        inputs = layer.dropped_weight().shape[1]
        assert 0.9 * inputs**-0.5 < highest <= inputs**-0.5


@both
def test_layer_groups_hold_every_parameter_once(kind: str) -> None:
    encoder = _encoder(kind)
    groups = encoder.layer_groups()
    assert [name for name, _ in groups] == ["emb", "rnn0", "rnn1", "rnn2"]
    held = [id(parameter) for _, parameters in groups for parameter in parameters]
    assert sorted(held) == sorted(id(parameter) for parameter in encoder.parameters())


@both
def test_layer_weights_are_those_of_the_layers(kind: str) -> None:
    matrices = [p for layer in _encoder(kind).layers() for p in layer.parameters() if p.dim() == 2]
    assert _settings(kind).layer_weights() == sum(matrix.numel() for matrix in matrices)


@both
def test_it_is_the_embedding_that_tokens_look_up(kind: str) -> None:
    encoder = _encoder(kind, num_layers=1)
    with torch.no_grad():
        (layer,), tokens = encoder.layers(), _tokens(4)
        x = F.embedding(tokens, encoder.embedding)
        expected, _ = layer(x, layer.initial_state(LANES, "cpu"), None)
        assert torch.equal(encoder(tokens, encoder.initial_state(LANES)).raw_TBE, expected)
