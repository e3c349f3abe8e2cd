"""The AWD-LSTM encoder (Merity et al. 2017, Howard and Ruder 2018)."""

# ruff: noqa: N803 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

import torch
from torch import Tensor, nn

from ulmfit_dist.models import recurrence
from ulmfit_dist.models.dropout import masked
from ulmfit_dist.models.encoder import Encoder, LayerState, RecurrentLayer
from ulmfit_dist.models.recurrence import LSTMWeights
from ulmfit_dist.models.settings import EncoderSettings


class LSTMLayer(RecurrentLayer):
    """One LSTM layer, gates in torch's order i, f, g, o, whose recurrent weight may be masked. State: (hidden, cell).

    The weights are handed to torch's functional LSTM, so that weight drop needs no surgery on a module: the dropped
    matrix is an ordinary product that autograd sees.
    """

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * output_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * output_size, output_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * output_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * output_size))

    def forward(self, x_TBI: Tensor, state: LayerState, mask: Tensor | None) -> tuple[Tensor, LayerState]:
        """Return the outputs (T, B, H) and the new (hidden, cell), each (1, B, H).

        Under autocast the outputs have its type, the state keeps its own. torch's own rule for cuDNN's LSTM casts to
        float16 whatever was asked for, where small gradients vanish: after 500 steps without dropout a loss 0.33 nats
        higher (tests/bench/bench_lm_precision.py). On a GPU the layer runs at padded sizes, in our own kernel where
        that takes it; there the state given gets no gradient.
        """
        kind = x_TBI.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_TBI.dtype
        hh = masked(self.weight_hh, mask)
        with torch.autocast(kind, enabled=False):
            if kind == "cuda":
                weights = LSTMWeights(*(w.to(dtype) for w in (self.weight_ih, hh, self.bias_ih + self.bias_hh)))
                out, new = self._run_padded(x_TBI.to(dtype), state, weights)
            else:
                x, hidden, cell, *given = (
                    tensor.to(dtype) for tensor in (x_TBI, *state, self.weight_ih, hh, self.bias_ih, self.bias_hh)
                )
                out, new = recurrence.torch_lstm(x, (hidden, cell), given)
        hidden, cell = (tensor.to(old.dtype) for tensor, old in zip(new, state, strict=True))
        return out, (hidden, cell)

    def _run_padded(self, x_TBI: Tensor, state: LayerState, weights: LSTMWeights) -> tuple[Tensor, LayerState]:
        own = recurrence.supported(x_TBI, recurrence.padded_size(weights.hh.shape[1]))
        layer = recurrence.lstm_layer if own else recurrence.cudnn_lstm_layer
        return recurrence.padded_lstm_layer(layer, x_TBI, state, weights)

    def dropped_weight(self) -> nn.Parameter:
        """Return the weight over the layer's own last output."""
        return self.weight_hh

    def initial_state(self, batch: int, device: torch.device | str) -> LayerState:
        """Return zeros (hidden, cell), each (1, B, H)."""
        zero = torch.zeros(1, batch, self.weight_hh.shape[1], device=device)
        return zero, zero.clone()

    def initial_range(self) -> float:
        """Return 1/sqrt(H), as torch's own LSTM."""
        return float(self.weight_hh.shape[1] ** -0.5)


class AWDLSTM(Encoder):
    """The encoder of ULMFiT: LSTM layers with dropped recurrent weights."""

    def make_layers(self, settings: EncoderSettings) -> list[RecurrentLayer]:
        """Return an LSTM layer for each of the settings' sizes."""
        return [LSTMLayer(inputs, outputs) for inputs, outputs in settings.layer_sizes()]
