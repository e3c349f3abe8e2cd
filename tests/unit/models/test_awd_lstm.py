"""AWD-LSTM against a plain statement with torch.nn.LSTM and the same masks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.models.encoder import State
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings

VOCAB, PAD, LANES = 23, 1, 4
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
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


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_under_autocast_it_computes_in_the_asked_type_and_keeps_its_state_in_float32(device: str) -> None:
    model, tokens = _model(decoder_bias=False).to(device), _tokens(7).to(device)
    plain = model.encoder(tokens, model.encoder.initial_state(LANES, device))
    with torch.autocast(device, dtype=torch.bfloat16):
        out = model.encoder(tokens, model.encoder.initial_state(LANES, device))
    assert out.raw_TBE.dtype == torch.bfloat16
    assert {part.dtype for pair in out.state for part in pair} == {torch.float32}
    torch.testing.assert_close(out.raw_TBE.float(), plain.raw_TBE, rtol=0.05, atol=0.01)
    # As small as a mean over many tokens makes them: in float16 they would be 0.
    parameters = list(model.encoder.rnns.parameters())
    small, usual = (torch.autograd.grad(out.raw_TBE.sum() * k, parameters, retain_graph=True) for k in (1e-9, 1.0))
    for one, other in zip(small, usual, strict=True):
        torch.testing.assert_close(one * 1e9, other, rtol=0.02, atol=0.02 * float(other.abs().max()))
