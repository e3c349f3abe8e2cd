"""A training window of the language model on a Hopper GPU: its loss and every gradient, made for capture in a graph.

What it computes is what `awd_lstm` and `training.losses` say; only the layout differs. Sizes are padded to multiples of
64 (cuDNN is 1.8 times faster at 1152 than at 1150 units): a padded unit has zero weights and a zero mask, so its cell
stays 0 and no gradient enters or leaves it. Products take a bfloat16 copy of the weights that is made once a window,
weight drop included; the decoder's bias lies in columns of its table, against inputs of 1, so that the products add it
and sum its gradient.
"""

# ruff: noqa: N803, N806, N815 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ulmfit_dist.models import recurrence
from ulmfit_dist.models.awd_lstm import LSTMLayer
from ulmfit_dist.models.encoder import State
from ulmfit_dist.models.kernels import masks as mask_kernels
from ulmfit_dist.models.kernels import outputs, scores, tokens
from ulmfit_dist.models.language_model import LanguageModel

_DECODER_COLUMNS = 16
_ALIGNED = 64  # numbers: gradients start on addresses that vector loads like
_NEVER = -1e4  # the bias of a padded word: its exponential is 0


class WindowTensors(NamedTuple):
    """A window on the GPU: ids and targets int64 (T, B), below 0 where there is none; see `FastLanguageModel.run`.

    keys int64, one for each of `sites`; factors float32 (3,): what each token's loss, each square of a dropped output
    and each squared change in time counts in the objective.
    """

    ids_TB: Tensor
    targets_TB: Tensor
    keys: Tensor
    factors: Tensor


class _Layer:
    """One LSTM layer: padded bfloat16 weights for computing, and the way between them and the parameters."""

    def __init__(self, source: LSTMLayer, lanes: int, *, own_recurrence: bool) -> None:
        self.source, self._own_recurrence = source, own_recurrence
        self.outputs, self.inputs = source.weight_hh.shape[1], source.weight_ih.shape[1]
        self.width, columns = recurrence.padded_size(self.outputs), recurrence.padded_size(self.inputs)
        device = source.weight_hh.device
        # The module lays its weights out as cuDNN wants them, in one piece. Its second bias stays zero.
        self.compute = nn.LSTM(columns, self.width, device=device, dtype=torch.bfloat16)
        self.hidden = torch.zeros(1, lanes, self.width, dtype=torch.bfloat16, device=device)
        self.cell = torch.zeros(1, lanes, self.width, device=device)
        with torch.no_grad():
            for parameter in self.compute.parameters():
                parameter.zero_()

    @property
    def weights(self) -> recurrence.LSTMWeights:
        """The padded copies that are trained."""
        named = dict(self.compute.named_parameters())
        return recurrence.LSTMWeights(named["weight_ih_l0"], named["weight_hh_l0"], named["bias_ih_l0"])

    @torch.no_grad()
    def pack(self, mask: Tensor | None) -> None:
        """Copy the parameters as they are now, the recurrent ones masked."""
        ih, hh, bias = self._inner(self.weights)
        ih.copy_(_gates(self.source.weight_ih))
        if mask is None:
            hh.copy_(_gates(self.source.weight_hh))
        else:
            torch.mul(_gates(self.source.weight_hh), _gates(mask), out=hh)
        torch.add(_gates(self.source.bias_ih), _gates(self.source.bias_hh), out=bias)

    def unpack(self, gradients: Sequence[Tensor], mask: Tensor | None, out: dict[nn.Parameter, Tensor]) -> None:
        """Write the gradients of `weights` as those of the parameters."""
        ih, hh, bias = self._inner(gradients)
        _gates(out[self.source.weight_ih]).copy_(ih)
        if mask is None:
            _gates(out[self.source.weight_hh]).copy_(hh)
        else:
            torch.mul(hh, _gates(mask), out=_gates(out[self.source.weight_hh]))
        for parameter in (self.source.bias_ih, self.source.bias_hh):
            _gates(out[parameter]).copy_(bias)

    def run(self, x_TBI: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs (T, B, width) and the state after them; the one before is read, not changed."""
        if self._own_recurrence and recurrence.supported(x_TBI, self.width):
            return recurrence.lstm_layer(x_TBI, (self.hidden, self.cell), self.weights)
        out, state = self.compute(x_TBI, (self.hidden, self.cell.to(torch.bfloat16)))
        return out, state

    def _inner(self, padded: Sequence[Tensor]) -> list[Tensor]:
        ih, hh, bias = (_gates(tensor)[:, : self.outputs] for tensor in padded)
        return [ih[..., : self.inputs], hh[..., : self.outputs], bias]


class FastLanguageModel:
    """Gradients of a language model's objective for some lanes, without autograd around the embedding and the decoder.

    `own_recurrence`: `models.recurrence` where it supports a layer's size, instead of cuDNN.
    `gradients` float32 holds a view a parameter, in the order of `layer_groups`, written whole by every `run`;
    `state` views of the lanes' hidden and cell state without padding, which `run` moves on in place.
    Everything `run` does is done in order on the current stream, and nothing waits for the GPU: it can be captured.
    """

    def __init__(self, model: LanguageModel, lanes: range, *, own_recurrence: bool = False) -> None:
        encoder, self._model, self._lanes = model.encoder, model, lanes
        embedding = encoder.embedding
        vocab_size, self._size = embedding.shape
        device, columns = embedding.device, recurrence.padded_size(self._size + 2, _DECODER_COLUMNS)
        self._layers = [
            _Layer(layer, len(lanes), own_recurrence=own_recurrence)  # type: ignore[arg-type]
            for layer in encoder.rnns
        ]
        self._table = torch.zeros(recurrence.padded_size(vocab_size), columns, dtype=torch.bfloat16, device=device)
        self._table[vocab_size:, self._size] = _NEVER
        self._grad_table = torch.zeros(self._table.shape, device=device)
        self.parameters = [parameter for _, group in model.layer_groups() for parameter in group]
        ends = list(accumulate(recurrence.padded_size(parameter.numel(), _ALIGNED) for parameter in self.parameters))
        self._starts = dict(zip(self.parameters, [0, *ends[:-1]], strict=True))
        self.gradients = torch.zeros(ends[-1], device=device)
        self._views = {
            parameter: self.gradients[start : start + parameter.numel()].view_as(parameter)
            for parameter, start in self._starts.items()
        }
        self._masks = _Masks(model, lanes, [layer.width for layer in self._layers])
        self.sites = list(self._masks.sites)

    @property
    def state(self) -> State:
        """The lanes' (hidden, cell), each (1, B, H): views."""
        sizes = [(layer, layer.outputs) for layer in self._layers]
        return [(layer.hidden[..., :size], layer.cell[..., :size]) for layer, size in sizes]

    def gradient_of(self, trainable: list[nn.Parameter]) -> Tensor:
        """Give the trainable parameters their gradients' views; return all of those in one piece.

        The trainable ones are those of the top layer groups, hence the last in `gradients`.
        """
        for parameter, view in self._views.items():
            parameter.grad = view if parameter.requires_grad else None
        return self.gradients[min(self._starts[parameter] for parameter in trainable) :]

    @torch.no_grad()
    def run(self, window: WindowTensors) -> Tensor:
        """Write the gradients of the objective of this rank's lanes; return the sum of the losses in nats, float64.

        The objective is factors[0] * sum(loss) + factors[1] * sum(dropped ^ 2) + factors[2] * sum(change ^ 2).
        """
        self._masks.draw(window.keys)
        self._pack()
        targets_N, table = window.targets_TB.flatten(), outputs.Decoder(self._table, self._size)
        embedded = self._embed(window)
        raw, states = self._recurrent(embedded)
        mask = self._masks.sites[self.sites[-1]]
        given = outputs.decoder_input(raw, mask, table, targets_N)
        found = scores.cross_entropy(
            scores.Rows(given.rows, given.at_target, targets_N), self._table, self._grad_table, window.factors[:1]
        )
        gradient = outputs.RowGradient(found.rows, found.factors, window.factors[1:])
        self._backward(raw, outputs.output_gradient(raw, mask, given, gradient, targets_N), embedded, window)
        for layer, (hidden, cell) in zip(self._layers, states, strict=True):
            layer.hidden.copy_(hidden)
            layer.cell.copy_(cell)
        return found.loss.sum(dtype=torch.float64)

    def _pack(self) -> None:
        embedding, bias, size = self._model.encoder.embedding, self._model.decoder_bias, self._size
        vocab_size = len(embedding)
        self._table[:vocab_size, :size].copy_(embedding)
        if bias is not None:
            high = bias.to(torch.bfloat16)
            self._table[:vocab_size, size] = high
            # What bfloat16 leaves of the bias: together 16 bits, where 8 would move a rare word's score by 0.02.
            self._table[:vocab_size, size + 1] = (bias - high).to(torch.bfloat16)
        for index, layer in enumerate(self._layers):
            layer.pack(self._masks.sites[f"weight{index}"])

    def _embed(self, window: WindowTensors) -> Tensor:
        embedding, width = self._model.encoder.embedding, self._layers[0].compute.input_size
        return tokens.embed(window.ids_TB, embedding, self._masks.tokens(), width)

    def _recurrent(self, embedded: Tensor) -> tuple[Tensor, State]:
        states: State = []
        with torch.enable_grad():
            x = embedded.requires_grad_()
            for index, layer in enumerate(self._layers):
                layer.compute.requires_grad_(layer.source.weight_hh.requires_grad)
                raw, state = layer.run(x)
                states.append(state)
                if index + 1 < len(self._layers):
                    mask = self._masks.sites[f"output{index}"]
                    x = raw if mask is None else raw * mask
        return raw, states

    def _backward(self, raw: Tensor, gradient: Tensor, embedded: Tensor, window: WindowTensors) -> None:
        trained = [layer for layer in self._layers if layer.source.weight_hh.requires_grad]
        weights = [weight for layer in trained for weight in layer.weights]
        grad_embedded, *grads = torch.autograd.grad(raw, [embedded, *weights], gradient)
        for index, layer in enumerate(self._layers):
            if layer in trained:
                own, grads = grads[:3], grads[3:]
                layer.unpack(own, self._masks.sites[f"weight{index}"], self._views)
        encoder, bias, size = self._model.encoder, self._model.decoder_bias, self._size
        grad_table = self._grad_table[: encoder.vocab_size]
        masks, rows = self._masks.tokens(), grad_table[:, :size]
        tokens.add_embedding_gradient(window.ids_TB, grad_embedded, masks, encoder.pad_id, rows)
        self._views[encoder.embedding].copy_(rows)
        if bias is not None:
            self._views[bias].copy_(grad_table[:, size])


class _Masks:
    """The masks of a window by site, None where nothing is dropped; drawn into the same memory every time."""

    def __init__(self, model: LanguageModel, lanes: range, widths: list[int]) -> None:
        p, encoder, device = model.encoder.settings, model.encoder, model.encoder.embedding.device
        self._lanes, last = lanes, p.num_layers - 1
        self._rates: dict[str, float] = {"embedding": p.embedding_dropout, "input": p.input_dropout}
        shapes = {"embedding": (1, encoder.vocab_size), "input": (len(lanes), p.embedding_size)}
        padded = {"embedding": encoder.vocab_size, "input": p.embedding_size}
        for index, (_, size) in enumerate(p.layer_sizes()):
            self._rates[f"weight{index}"] = p.weight_dropout
            self._rates[f"output{index}"] = p.output_dropout if index == last else p.hidden_dropout
            shapes[f"weight{index}"], padded[f"weight{index}"] = (4 * size, size), size
            shapes[f"output{index}"] = (len(lanes), size)
            # Between layers the mask is as wide as the padded layer, zero at its padding; the last is read by size.
            padded[f"output{index}"] = size if index == last else widths[index]
        self._columns = {site: columns for site, (_, columns) in shapes.items()}
        self.sites: dict[str, Tensor | None] = {
            site: torch.zeros(rows, padded[site], dtype=_mask_type(site), device=device) if self._rates[site] else None
            for site, (rows, _) in shapes.items()
        }

    def draw(self, keys: Tensor) -> None:
        """Draw the masks of a window; locked ones are this rank's rows of what all lanes would draw."""
        for (site, mask), key in zip(self.sites.items(), keys.unbind(), strict=True):
            if mask is not None:
                first = self._lanes.start if site == "input" or site.startswith("output") else 0
                mask_kernels.fill_mask(mask[:, : self._columns[site]], key, self._rates[site], first)

    def tokens(self) -> tokens.TokenMasks:
        return tokens.TokenMasks(self.sites["embedding"], self.sites["input"])


def _mask_type(site: str) -> torch.dtype:
    # As the plain path rounds: masks of activations to bfloat16, of float32 rows and weights not at all.
    return torch.bfloat16 if site.startswith("output") else torch.float32


def _gates(tensor: Tensor) -> Tensor:
    return tensor.view(4, tensor.shape[0] // 4, *tensor.shape[1:])
