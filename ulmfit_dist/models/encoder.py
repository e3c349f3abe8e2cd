"""What every encoder is: embedded tokens through recurrent layers, with the five dropouts of the AWD-LSTM."""

# ruff: noqa: N803, N806, N815 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from ulmfit_dist.models.dropout import DropoutMasks, masked, seeded_generator
from ulmfit_dist.models.settings import EncoderSettings

LayerState = tuple[Tensor, Tensor]
State = list[LayerState]
LayerGroup = tuple[str, list[nn.Parameter]]

_INITIAL_RANGE = 0.1  # embedding weights start in U(-0.1, 0.1): all ancestors' initrange


class EncoderOutput(NamedTuple):
    """What the encoder gives: the last layer before and after its dropout, and the state after the last token."""

    raw_TBE: Tensor
    dropped_TBE: Tensor
    state: State


class RecurrentLayer(nn.Module, ABC):
    """One layer over time. Its state is two tensors (1, B, any): lanes are dimension 1, which ranks share out."""

    @abstractmethod
    def forward(self, x_TBI: Tensor, state: LayerState, mask: Tensor | None) -> tuple[Tensor, LayerState]:
        """Return the outputs (T, B, H) and the state after them; `mask` is for `dropped_weight`."""

    @abstractmethod
    def dropped_weight(self) -> nn.Parameter:
        """Return the weight that weight drop masks."""

    @abstractmethod
    def initial_state(self, batch: int, device: torch.device | str) -> LayerState:
        """Return zeros."""

    @abstractmethod
    def initial_range(self) -> float:
        """Return r: the layer's weights start in U(-r, r)."""


class Encoder(nn.Module, ABC):
    """Embedding and recurrent layers: AWDLSTM or QRNN.

    Initial weights are a pure function of `seed` and the parameter's name: embedding U(-0.1, 0.1), layers as each says.
    """

    def __init__(self, vocab_size: int, settings: EncoderSettings, pad_id: int, seed: int = 0) -> None:
        super().__init__()
        self.vocab_size, self.settings, self.pad_id = vocab_size, settings, pad_id
        self.embedding = nn.Parameter(torch.empty(vocab_size, settings.embedding_size))
        self.rnns = nn.ModuleList(self.make_layers(settings))
        self._initialise(seed)

    @abstractmethod
    def make_layers(self, settings: EncoderSettings) -> list[RecurrentLayer]:
        """Return the layers, lowest first, whose weights are set afterwards."""

    def layers(self) -> list[RecurrentLayer]:
        """Return the recurrent layers, lowest first."""
        return cast("list[RecurrentLayer]", list(self.rnns))

    def forward(self, tokens_TB: Tensor, state: State, masks: DropoutMasks | None = None) -> EncoderOutput:
        """Run a window on from `state`; without masks nothing is dropped.

        Args: tokens_TB int64 (T, B); state as `initial_state` or an earlier window gave it.
        """
        p, layers = self.settings, self.layers()
        raw, dropped = self._embed(tokens_TB, masks), torch.empty(0)
        new_state: State = []
        for index, layer in enumerate(layers):
            x = raw if index == 0 else dropped
            shape = layer.dropped_weight().shape
            mask = masks.weight(f"weight{index}", shape, p.weight_dropout) if masks else None
            raw, after = layer(x, state[index], mask)
            rate = p.output_dropout if layer is layers[-1] else p.hidden_dropout
            dropped = masked(raw, masks.locked(f"output{index}", raw.shape[-1], rate) if masks else None)
            new_state.append(after)
        return EncoderOutput(raw, dropped, new_state)

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> State:
        """Return the zero state: the start of an epoch, or of a document for a classifier."""
        return [layer.initial_state(batch, device) for layer in self.layers()]

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
        ranges = {f"rnns.{index}.": layer.initial_range() for index, layer in enumerate(self.layers())}
        for name, parameter in self.named_parameters():
            bound = next((r for prefix, r in ranges.items() if name.startswith(prefix)), _INITIAL_RANGE)
            parameter.uniform_(-bound, bound, generator=seeded_generator("cpu", seed, "initial", name))


def detach_state(state: State) -> State:
    """Cut the graph: the next window starts from the values alone (truncated back-propagation)."""
    return [(first.detach(), second.detach()) for first, second in state]
