"""QRNN against an independent statement, token by token; the classifier on top; the encoder on a GPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.models.encoder import State, detach_state
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.qrnn import QRNNLayer
from ulmfit_dist.models.settings import QRNNSettings

VOCAB, PAD, LANES = 23, 1, 4
SETTINGS = QRNNSettings(
    embedding_size=6,
    hidden_size=9,
    num_layers=3,
    output_dropout=0.3,
    hidden_dropout=0.4,
    input_dropout=0.2,
    embedding_dropout=0.3,
    weight_dropout=0.5,
)


def _model() -> LanguageModel:
    return LanguageModel(VOCAB, SETTINGS, PAD, seed=5).double()


def _tokens(length: int, seed: int = 0) -> Tensor:
    return torch.randint(2, VOCAB, (length, LANES), generator=torch.Generator().manual_seed(seed))


def _masks(step: int) -> DropoutMasks:
    return DropoutMasks(11, step, range(LANES), LANES)


def _known(mask: Tensor | None) -> Tensor:
    assert mask is not None
    return mask


def _start(model: LanguageModel) -> State:
    return [(last.double(), cell.double()) for last, cell in model.encoder.initial_state(LANES)]


Memory = list[dict[str, Tensor]]


def _plain(model: LanguageModel, tokens: Tensor, memory: Memory, masks: DropoutMasks) -> tuple[Tensor, Tensor, Memory]:
    """The network of the papers with one matrix a gate and a place in the window, and c_t = f c + (1 - f) z."""
    x = model.encoder.embedding[tokens] * _known(masks.rows("embedding", VOCAB, 0.3))[tokens][..., None]
    x = x * _known(masks.locked("input", 6, 0.2))
    memory, raw = [dict(layer) for layer in memory], x
    for index, (inputs, units) in enumerate([(6, 9), (9, 9), (9, 6)]):
        weight = model.state_dict(keep_vars=True)[f"encoder.rnns.{index}.weight"]
        weight = weight * _known(masks.weight(f"weight{index}", weight.shape, 0.5))
        bias = model.state_dict(keep_vars=True)[f"encoder.rnns.{index}.bias"]
        now = dict(zip("zfo", weight[:, :inputs].split(units), strict=True))
        ago = dict(zip("zfo", weight[:, inputs:].split(units), strict=True))
        shift = dict(zip("zfo", bias.split(units), strict=True))
        cell, last, steps = memory[index]["cell"], memory[index]["last"], []
        for token in x:
            gate = {name: token @ now[name].t() + shift[name] for name in "zfo"}
            if index == 0:
                gate = {name: value + last @ ago[name].t() for name, value in gate.items()}
            f = 1 / (1 + (-gate["f"]).exp())
            cell = f * cell + (1 - f) * gate["z"].tanh()
            steps.append(cell / (1 + (-gate["o"]).exp()))
            last = token
        memory[index] = {"cell": cell.detach(), "last": last.detach()}
        raw = torch.stack(steps)
        x = raw * _known(masks.locked(f"output{index}", units, 0.4 if index < 2 else 0.3))
    return raw, x, memory


def test_forward_and_every_gradient_equal_the_plain_statement_over_two_windows() -> None:
    gradients, outputs = [], []
    for run in ("ours", "plain"):
        model = _model()
        state, total, seen = _start(model), torch.zeros(()), []
        memory = [
            {"cell": torch.zeros(LANES, units).double(), "last": torch.zeros(LANES, inputs).double()}
            for inputs, units in SETTINGS.layer_sizes()
        ]
        for step in range(2):
            tokens = _tokens(7, step)
            if run == "ours":
                out = model(tokens, state, _masks(step))
                raw, dropped, state = out.raw_TBE, out.dropped_TBE, detach_state(out.state)
            else:
                raw, dropped, memory = _plain(model, tokens, memory, _masks(step))
            logits = dropped @ model.encoder.embedding.t() + model.decoder_bias
            total = total + F.cross_entropy(logits.flatten(0, 1), tokens.flatten()) + raw.pow(2).mean()
            seen += [raw, dropped, logits]
        total.backward()
        outputs.append([part.detach() for part in seen])
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    torch.testing.assert_close(outputs[0], outputs[1])
    assert len(gradients[0]) == 2 + 3 * 2
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def test_weight_drop_reaches_all_gates_and_never_the_biases() -> None:
    model, masks = _model(), _masks(0)
    model(_tokens(5), _start(model), masks).raw_TBE.sum().backward()
    for index, layer in enumerate(model.encoder.layers()):
        weight = layer.dropped_weight()
        dropped = _known(masks.weight(f"weight{index}", weight.shape, 0.5)) == 0
        assert weight.grad is not None
        assert weight.grad[dropped].eq(0).all()
        units = weight.shape[0] // 3
        for gate in range(3):
            rows = slice(gate * units, (gate + 1) * units)
            assert dropped[rows].any()
            assert weight.grad[rows].ne(0).any()


def test_only_the_first_layer_looks_back() -> None:
    encoder = _model().encoder
    assert [layer.window for layer in encoder.layers() if isinstance(layer, QRNNLayer)] == [2, 1, 1]
    shapes = [(tuple(last.shape), tuple(cell.shape)) for last, cell in encoder.initial_state(LANES)]
    lanes = (1, LANES)
    assert shapes == [((*lanes, 6), (*lanes, 9)), ((*lanes, 0), (*lanes, 9)), ((*lanes, 0), (*lanes, 6))]


def _classifier(bptt: int) -> TextClassifier:
    settings = ClassifierSettings(bptt=bptt, head_hidden=6)
    return TextClassifier.from_language_model(LanguageModel(VOCAB, SETTINGS, PAD, seed=1), 3, settings, seed=2).eval()


def _batch(documents: list[Tensor], length: int) -> tuple[Tensor, Tensor]:
    tokens = torch.full((length, len(documents)), PAD)
    for column, document in enumerate(documents):
        tokens[: len(document), column] = document
    return tokens, tokens != PAD


def test_scores_do_not_depend_on_batch_mates_padding_or_chunks() -> None:
    generator = torch.Generator().manual_seed(4)
    documents = [torch.randint(2, VOCAB, (length,), generator=generator) for length in (13, 1, 6, 9)]
    with torch.no_grad():
        together = _classifier(4)(*_batch(documents, 17))
        alone = torch.cat([_classifier(4)(*_batch([document], len(document))) for document in documents])
        torch.testing.assert_close(together, alone)
        torch.testing.assert_close(_classifier(5)(*_batch(documents, 13)), together)
        torch.testing.assert_close(_classifier(50)(*_batch(documents, 13)), together)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_it_is_the_same_encoder() -> None:
    # Sizes that no multiple of 8 divides: the padded products and the kernels against the CPU's.
    results = []
    for device in ("cpu", "cuda"):
        model = LanguageModel(VOCAB, SETTINGS, PAD, seed=5).to(device)
        state, total = model.encoder.initial_state(LANES, device), torch.zeros((), device=device)
        for step in range(2):
            out = model.encoder(_tokens(7, step).to(device), state)
            state, total = out.state, total + out.raw_TBE.pow(2).sum()
        total.backward()
        results.append([part.cpu() for pair in state for part in pair])
        results[-1] += [parameter.grad.cpu() for parameter in model.encoder.parameters() if parameter.grad is not None]
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)
