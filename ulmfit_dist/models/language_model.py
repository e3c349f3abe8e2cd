"""The language model: an encoder and a decoder tied to its embedding."""

# ruff: noqa: N803, N815 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from ulmfit_dist.models.awd_lstm import AWDLSTM
from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.models.encoder import Encoder, LayerGroup, State
from ulmfit_dist.models.qrnn import QRNN
from ulmfit_dist.models.settings import EncoderSettings, QRNNSettings


class LMOutput(NamedTuple):
    """What the language model gives: scores of the next token, and the encoder's output."""

    logits_TBV: Tensor
    raw_TBE: Tensor
    dropped_TBE: Tensor
    state: State


def make_encoder(vocab_size: int, settings: EncoderSettings, pad_id: int, seed: int = 0) -> Encoder:
    """Return the encoder that the settings are of, with the initial weights of the seed."""
    kind = QRNN if isinstance(settings, QRNNSettings) else AWDLSTM
    return kind(vocab_size, settings, pad_id, seed)


class LanguageModel(nn.Module):
    """An encoder and a decoder whose weight is the embedding itself: one tensor, one gradient, stored once."""

    def __init__(self, vocab_size: int, settings: EncoderSettings, pad_id: int, seed: int = 0) -> None:
        super().__init__()
        self.encoder = make_encoder(vocab_size, settings, pad_id, seed)
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
