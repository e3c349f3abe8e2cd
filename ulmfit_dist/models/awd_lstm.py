"""The AWD-LSTM encoder and the language model with a tied decoder (Merity et al. 2017, Howard and Ruder 2018)."""

# ruff: noqa: N803, N806, N815 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from ulmfit_dist.models.dropout import DropoutMasks, masked, seeded_generator
from ulmfit_dist.models.settings import AWDLSTMSettings

State = list[tuple[Tensor, Tensor]]
LayerGroup = tuple[str, list[nn.Parameter]]

_INITIAL_RANGE = 0.1  # embedding weights start in U(-0.1, 0.1): all ancestors' initrange


class EncoderOutput(NamedTuple):
    """What the encoder gives: the last layer before and after its dropout, and the state after the last token."""

    raw_TBE: Tensor
    dropped_TBE: Tensor
    state: State


class LMOutput(NamedTuple):
    """What the language model gives: scores of the next token, and the encoder's output."""

    logits_TBV: Tensor
    raw_TBE: Tensor
    dropped_TBE: Tensor
    state: State


class LSTMLayer(nn.Module):
    """One LSTM layer, gates in torch's order i, f, g, o, whose recurrent weight may be masked.

    The weights are handed to torch's functional LSTM, so that weight drop needs no surgery on a module: the dropped
    matrix is an ordinary product that autograd sees.
    """

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * output_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * output_size, output_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * output_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * output_size))

    def forward(
        self, x_TBI: Tensor, state: tuple[Tensor, Tensor], mask_hh: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs (T, B, H) and the new (hidden, cell), each (1, B, H)."""
        weights = [self.weight_ih, masked(self.weight_hh, mask_hh), self.bias_ih, self.bias_hh]
        # (has biases, layers, dropout, training: keeps what backward needs, bidirectional, batch first)
        out, hidden, cell = torch._VF.lstm(x_TBI, state, weights, True, 1, 0.0, True, False, False)  # noqa: FBT003, SLF001
        return out, (hidden, cell)


class AWDLSTM(nn.Module):
    """The encoder: embedding and LSTM layers, with the five dropouts of the AWD-LSTM.

    Initial weights are a pure function of `seed` and the parameter's name: embedding U(-0.1, 0.1), LSTM layers
    U(-1/sqrt(H), 1/sqrt(H)).
    """

    def __init__(self, vocab_size: int, settings: AWDLSTMSettings, pad_id: int, seed: int = 0) -> None:
        super().__init__()
        self.vocab_size, self.settings, self.pad_id = vocab_size, settings, pad_id
        self.embedding = nn.Parameter(torch.empty(vocab_size, settings.embedding_size))
        self.rnns = nn.ModuleList([LSTMLayer(inputs, outputs) for inputs, outputs in settings.layer_sizes()])
        self._initialise(seed)

    def forward(self, tokens_TB: Tensor, state: State, masks: DropoutMasks | None = None) -> EncoderOutput:
        """Run a window on from `state`; without masks nothing is dropped.

        Args: tokens_TB int64 (T, B); state one (hidden, cell) a layer, each (1, B, H of the layer).
        """
        p, last = self.settings, len(self.rnns) - 1
        raw, dropped = self._embed(tokens_TB, masks), torch.empty(0)
        new_state: State = []
        for index, layer in enumerate(cast("list[LSTMLayer]", self.rnns)):
            x = raw if index == 0 else dropped
            mask_hh = masks.weight(f"weight{index}", layer.weight_hh.shape, p.weight_dropout) if masks else None
            raw, hidden = layer(x, state[index], mask_hh)
            rate = p.output_dropout if index == last else p.hidden_dropout
            dropped = masked(raw, masks.locked(f"output{index}", raw.shape[-1], rate) if masks else None)
            new_state.append(hidden)
        return EncoderOutput(raw, dropped, new_state)

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> State:
        """Return the zero state: the start of an epoch, or of a document for a classifier."""
        sizes = [outputs for _, outputs in self.settings.layer_sizes()]
        zeros = [torch.zeros(1, batch, size, device=device) for size in sizes]
        return [(zero, zero.clone()) for zero in zeros]

    def layer_groups(self) -> list[LayerGroup]:
        """Return the paper's layers, lowest first: emb, rnn0, rnn1, ..."""
        rnns = [(f"rnn{index}", list(layer.parameters())) for index, layer in enumerate(self.rnns)]
        return [("emb", [self.embedding]), *rnns]

    def _embed(self, tokens_TB: Tensor, masks: DropoutMasks | None) -> Tensor:
        x_TBE = F.embedding(tokens_TB, self.embedding, padding_idx=self.pad_id)
        if masks is None:
            return x_TBE
        p = self.settings
        rows = masks.rows("embedding", self.vocab_size, p.embedding_dropout)
        # Gathering T*B mask values touches 1/V of what masking the whole matrix would.
        x_TBE = masked(x_TBE, None if rows is None else rows[tokens_TB].unsqueeze(-1))
        return masked(x_TBE, masks.locked("input", p.embedding_size, p.input_dropout))

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        for name, parameter in self.named_parameters():
            layer_size = parameter.shape[0] // 4
            bound = _INITIAL_RANGE if parameter is self.embedding else layer_size**-0.5
            parameter.uniform_(-bound, bound, generator=seeded_generator("cpu", seed, "initial", name))


class LanguageModel(nn.Module):
    """An encoder and a decoder whose weight is the embedding itself: one tensor, one gradient, stored once."""

    def __init__(self, vocab_size: int, settings: AWDLSTMSettings, pad_id: int, seed: int = 0) -> None:
        super().__init__()
        self.encoder = AWDLSTM(vocab_size, settings, pad_id, seed)
        self.decoder_bias = nn.Parameter(torch.zeros(vocab_size)) if settings.decoder_bias else None

    @property
    def decoder_weight(self) -> nn.Parameter:
        """The tied weight (V, E)."""
        return self.encoder.embedding

    def forward(self, tokens_TB: Tensor, state: State, masks: DropoutMasks | None = None) -> LMOutput:
        """Return the scores of every next token; `training` uses the encoder and the fused decoder loss instead."""
        raw, dropped, new_state = self.encoder(tokens_TB, state, masks)
        return LMOutput(F.linear(dropped, self.decoder_weight, self.decoder_bias), raw, dropped, new_state)

    def layer_groups(self) -> list[LayerGroup]:
        """Return the groups of the ancestors' language model, lowest first: rnn0, rnn1, ..., decoder.

        The decoder's weight is the embedding, so the top group holds both (fast.ai 0.7 `lm_rnn.get_language_model`):
        a group of the bias alone would train nothing.
        """
        bias = [] if self.decoder_bias is None else [self.decoder_bias]
        return [*self.encoder.layer_groups()[1:], ("decoder", [self.encoder.embedding, *bias])]


def detach_state(state: State) -> State:
    """Cut the graph: the next window starts from the values alone (truncated back-propagation)."""
    return [(hidden.detach(), cell.detach()) for hidden, cell in state]
