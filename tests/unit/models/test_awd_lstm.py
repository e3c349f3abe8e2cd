"""AWD-LSTM against a plain statement with torch.nn.LSTM and the same masks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ulmfit_dist.models.awd_lstm import LanguageModel, State, detach_state
from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.models.settings import AWDLSTMSettings

VOCAB, PAD, LANES = 23, 1, 4
SETTINGS = AWDLSTMSettings(
    embedding_size=6,
    hidden_size=9,
    num_layers=3,
    output_dropout=0.3,
    hidden_dropout=0.4,
    input_dropout=0.2,
    embedding_dropout=0.3,
    weight_dropout=0.5,
)


def _model(**changes: object) -> LanguageModel:
    return LanguageModel(VOCAB, AWDLSTMSettings.model_validate({**SETTINGS.model_dump(), **changes}), PAD, seed=5)


def _tokens(length: int, seed: int = 0) -> Tensor:
    return torch.randint(2, VOCAB, (length, LANES), generator=torch.Generator().manual_seed(seed))


def _masks(step: int = 0) -> DropoutMasks:
    return DropoutMasks(11, step, range(LANES), LANES)


def _known(mask: Tensor | None) -> Tensor:
    assert mask is not None
    return mask


def _plain(model: LanguageModel, tokens: Tensor, state: State, masks: DropoutMasks) -> tuple[Tensor, Tensor, State]:
    """The same network said with nn.LSTM: weight_hh replaced by its masked self through functional_call."""
    x = F.embedding(tokens, model.encoder.embedding, padding_idx=PAD)
    x = x * _known(masks.rows("embedding", VOCAB, 0.3))[tokens][..., None]
    x = x * _known(masks.locked("input", 6, 0.2))
    new_state, raw = [], x
    for index, layer in enumerate(model.encoder.rnns):
        inputs, outputs = layer.weight_ih.shape[1], layer.weight_hh.shape[1]
        weights = {
            "weight_ih_l0": layer.weight_ih,
            "weight_hh_l0": layer.weight_hh * _known(masks.weight(f"weight{index}", (4 * outputs, outputs), 0.5)),
            "bias_ih_l0": layer.bias_ih,
            "bias_hh_l0": layer.bias_hh,
        }
        raw, hidden = torch.func.functional_call(nn.LSTM(inputs, outputs), weights, (x, state[index]))
        x = raw * _known(masks.locked(f"output{index}", outputs, 0.4 if index < 2 else 0.3))
        new_state.append(hidden)
    return raw, x, new_state


def test_forward_and_every_gradient_equal_the_plain_statement_over_two_windows() -> None:
    gradients = []
    outputs = []
    for run in ("ours", "plain"):
        model = _model()
        state = model.encoder.initial_state(LANES)
        total = torch.zeros(())
        seen: list[Tensor] = []
        for step in range(2):
            tokens = _tokens(7, step)
            if run == "ours":
                out = model(tokens, state, _masks(step))
                raw, dropped, state, logits = out.raw_TBE, out.dropped_TBE, out.state, out.logits_TBV
            else:
                raw, dropped, state = _plain(model, tokens, state, _masks(step))
                logits = dropped @ model.encoder.embedding.t() + model.decoder_bias
            total = total + F.cross_entropy(logits.flatten(0, 1), tokens.flatten()) + raw.pow(2).mean()
            seen += [raw, dropped, logits, *(part for pair in state for part in pair)]
        total.backward()
        outputs.append([part.detach() for part in seen])
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for ours, plain in zip(*outputs, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)
    assert len(gradients[0]) == 2 + 3 * 4
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-4, atol=1e-6, msg=name)


def test_weight_drop_reaches_the_recurrent_weights_and_only_them() -> None:
    model = _model(input_dropout=0, embedding_dropout=0, hidden_dropout=0, output_dropout=0)
    masks = _masks()
    model(_tokens(5), model.encoder.initial_state(LANES), masks).raw_TBE.sum().backward()
    for index, layer in enumerate(model.encoder.rnns):
        dropped = _known(masks.weight(f"weight{index}", layer.weight_hh.shape, 0.5)) == 0
        assert dropped.any()
        # One mask for the whole window: what it drops has no gradient at any time step.
        assert torch.equal(layer.weight_hh.grad == 0, dropped)
        assert (layer.weight_ih.grad != 0).any(1).all()


def test_locked_dropout_is_constant_over_time_and_differs_between_lanes() -> None:
    model = _model(weight_dropout=0, embedding_dropout=0)
    out = model(_tokens(8), model.encoder.initial_state(LANES), _masks())
    factor = (out.dropped_TBE / out.raw_TBE).detach()
    torch.testing.assert_close(factor, factor[:1].expand_as(factor))
    assert not torch.equal(factor[0, 0] == 0, factor[0, 1] == 0)


def test_without_masks_nothing_is_dropped() -> None:
    model = _model()
    out = model(_tokens(4), model.encoder.initial_state(LANES))
    assert torch.equal(out.raw_TBE, out.dropped_TBE)


def test_a_window_equals_its_two_halves_with_the_state_carried() -> None:
    model, tokens = _model(), _tokens(10)
    whole = model(tokens, model.encoder.initial_state(LANES))
    first = model(tokens[:4], model.encoder.initial_state(LANES))
    second = model(tokens[4:], detach_state(first.state))
    torch.testing.assert_close(torch.cat([first.raw_TBE, second.raw_TBE]), whole.raw_TBE)
    assert not any(part.requires_grad for pair in detach_state(first.state) for part in pair)


def test_decoder_is_the_embedding_itself() -> None:
    model = _model()
    assert model.decoder_weight is model.encoder.embedding
    assert [name for name, _ in model.named_parameters() if "embedding" in name] == ["encoder.embedding"]
    assert sum(tensor.shape == (VOCAB, 6) for tensor in model.state_dict().values()) == 1


def test_padding_row_learns_nothing_from_being_read() -> None:
    model = _model()
    tokens = torch.full((3, LANES), PAD)
    model.encoder(tokens, model.encoder.initial_state(LANES)).raw_TBE.sum().backward()
    assert model.encoder.embedding.grad is not None
    assert not model.encoder.embedding.grad.any()


def test_initial_weights_follow_from_the_seed_alone() -> None:
    torch.manual_seed(3)
    one = _model()
    torch.manual_seed(4)
    two = _model()
    other = LanguageModel(VOCAB, SETTINGS, PAD, seed=6)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name])
        assert name == "decoder_bias" or not torch.equal(tensor, other.state_dict()[name])
    assert float(one.encoder.embedding.detach().abs().max()) <= 0.1
    assert float(one.encoder.rnns[0].weight_hh.detach().abs().max()) <= 9**-0.5


@pytest.mark.parametrize("bias", [True, False])
def test_layer_groups_hold_every_parameter_once(bias: bool) -> None:
    model = _model(decoder_bias=bias)
    groups = model.layer_groups()
    assert [name for name, _ in groups] == ["rnn0", "rnn1", "rnn2", "decoder"]
    held = [id(parameter) for _, parameters in groups for parameter in parameters]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    assert groups[3][1][0] is model.encoder.embedding
