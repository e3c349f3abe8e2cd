"""The ULMFiT classifier: encoder, BPT3C over long documents, concat pooling, two-layer head (paper section 3.3)."""

# ruff: noqa: N803, N806 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from ulmfit_dist.config import Settings
from ulmfit_dist.models.awd_lstm import AWDLSTM, LanguageModel, LayerGroup, detach_state
from ulmfit_dist.models.dropout import DropoutMasks, masked, seeded_generator
from ulmfit_dist.models.settings import AWDLSTMSettings


class ClassifierSettings(Settings):
    """Head and dropouts of the paper (section 4.1) for `drop_mult` 1, and the chunks of BPT3C."""

    output_dropout: float = Field(default=0.4, ge=0, lt=1, description="locked dropout on the last layer's output")
    hidden_dropout: float = Field(default=0.3, ge=0, lt=1, description="locked dropout between layers")
    input_dropout: float = Field(default=0.4, ge=0, lt=1, description="locked dropout on the embedded tokens")
    embedding_dropout: float = Field(default=0.05, ge=0, lt=1, description="share of the vocabulary dropped in a batch")
    weight_dropout: float = Field(default=0.5, ge=0, lt=1, description="dropout on the recurrent weights, once a batch")
    head_hidden: int = Field(default=50, ge=1, description="units between the head's two layers")
    head_dropouts: tuple[float, float] = Field(
        default=(0.4, 0.1), description="dropout before each of the head's layers"
    )
    bptt: int = Field(default=70, ge=1, description="tokens of a chunk; gradients stop at its start")
    max_length: int = Field(
        default=1400, ge=1, description="how many of a document's last tokens are pooled (20 chunks of 70)"
    )

    def scaled(self, drop_mult: float) -> ClassifierSettings:
        """Return the same settings with every dropout multiplied (fastai's `drop_mult`)."""
        names = [name for name in type(self).model_fields if name.endswith("_dropout")]
        scaled = {name: getattr(self, name) * drop_mult for name in names}
        heads = [p * drop_mult for p in self.head_dropouts]
        return type(self).model_validate({**self.model_dump(), **scaled, "head_dropouts": heads})

    def encoder_settings(self, language_model: AWDLSTMSettings) -> AWDLSTMSettings:
        """Return the language model's sizes with the classifier's dropouts."""
        dropouts = {name: value for name, value in self.model_dump().items() if name.endswith("_dropout")}
        return AWDLSTMSettings.model_validate({**language_model.model_dump(), **dropouts})


class PoolingHead(nn.Module):
    """Batch norm, dropout, linear, ReLU; batch norm, dropout, linear. Initial weights are a function of the seed."""

    def __init__(self, sizes: tuple[int, int, int], dropouts: tuple[float, float], seed: int) -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        self.norms = nn.ModuleList([nn.BatchNorm1d(size) for size, _ in pairs])
        self.linears = nn.ModuleList([nn.Linear(inputs, outputs) for inputs, outputs in pairs])
        self.dropouts = dropouts
        with torch.no_grad():
            for name, parameter in self.linears.named_parameters():
                inputs = pairs[int(name.partition(".")[0])][0]
                parameter.uniform_(-(inputs**-0.5), inputs**-0.5, generator=seeded_generator("cpu", seed, "head", name))

    def forward(self, x_BE: Tensor, masks: DropoutMasks | None) -> Tensor:
        """Return the logits (B, C)."""
        for index, (norm, linear) in enumerate(zip(self.norms, self.linears, strict=True)):
            x_BE = norm(torch.relu(x_BE) if index else x_BE)
            mask = masks.bernoulli(f"head{index}", x_BE.shape, self.dropouts[index]) if masks else None
            x_BE = linear(masked(x_BE, mask))
        return x_BE


class TextClassifier(nn.Module):
    """Documents to class scores; a document's scores do not depend on its batch mates nor on the padding's side."""

    def __init__(
        self, encoder: AWDLSTM, num_classes: int, settings: ClassifierSettings | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.encoder, self.num_classes = encoder, num_classes
        self.settings = settings or ClassifierSettings()
        pooled = 3 * encoder.settings.embedding_size
        self.head = PoolingHead((pooled, self.settings.head_hidden, num_classes), self.settings.head_dropouts, seed)

    @classmethod
    def from_language_model(
        cls, model: LanguageModel, num_classes: int, settings: ClassifierSettings, seed: int = 0
    ) -> TextClassifier:
        """Return a classifier on a copy of the language model's encoder, with a fresh head."""
        source = model.encoder
        encoder = AWDLSTM(source.vocab_size, settings.encoder_settings(source.settings), source.pad_id)
        encoder.load_state_dict(source.state_dict())
        return cls(encoder, num_classes, settings, seed)

    def forward(self, tokens_TB: Tensor, valid_TB: Tensor, masks: DropoutMasks | None = None) -> Tensor:
        """Return the logits (B, C).

        Args: tokens_TB int64; valid_TB bool, False where a token is padding, at least one True a document.
        """
        tokens_TB, lengths_B = _compact(tokens_TB, valid_TB)
        out_TBE, start = self._encode(tokens_TB, lengths_B, masks)
        return self.head(_concat_pool(out_TBE, lengths_B - start, self.settings.max_length), masks)  # type: ignore[no-any-return]

    def layer_groups(self) -> list[LayerGroup]:
        """Return the paper's layers, lowest first: emb, rnn0, rnn1, ..., head."""
        return [*self.encoder.layer_groups(), ("head", list(self.head.parameters()))]

    def _encode(self, tokens_TB: Tensor, lengths_B: Tensor, masks: DropoutMasks | None) -> tuple[Tensor, int]:
        # BPT3C: chunk by chunk, the state carried and detached. What no document pools needs no gradient and no room.
        first_pooled = int((lengths_B - self.settings.max_length).clamp(min=0).min())
        state = self.encoder.initial_state(tokens_TB.shape[1], tokens_TB.device)
        kept, start = [], 0
        for begin in range(0, tokens_TB.shape[0], self.settings.bptt):
            chunk_TB = tokens_TB[begin : begin + self.settings.bptt]
            pooled = begin + chunk_TB.shape[0] > first_pooled
            with torch.set_grad_enabled(pooled and torch.is_grad_enabled()):
                out = self.encoder(chunk_TB, state, masks)
            state = detach_state(out.state)
            if pooled:
                kept.append(out.dropped_TBE)
            else:
                start = begin + chunk_TB.shape[0]
        return torch.cat(kept).float(), start


def _compact(tokens_TB: Tensor, valid_TB: Tensor) -> tuple[Tensor, Tensor]:
    """Move every document's tokens to the front, in order; return them with the lengths."""
    order_TB = torch.argsort((~valid_TB).to(torch.uint8), dim=0, stable=True)
    lengths_B = valid_TB.sum(0)
    return tokens_TB.gather(0, order_TB)[: int(lengths_B.max())], lengths_B


def _concat_pool(out_TBE: Tensor, lengths_B: Tensor, max_length: int) -> Tensor:
    """Return [last, max, mean] (B, 3E) over each document's last `max_length` outputs (paper section 3.3)."""
    position_T1 = torch.arange(out_TBE.shape[0], device=out_TBE.device)[:, None]
    pooled_TB1 = ((position_T1 < lengths_B) & (position_T1 >= lengths_B - max_length)).unsqueeze(-1)
    last_BE = out_TBE[lengths_B - 1, torch.arange(out_TBE.shape[1], device=out_TBE.device)]
    max_BE = out_TBE.masked_fill(~pooled_TB1, float("-inf")).amax(0)
    mean_BE = (out_TBE * pooled_TB1).sum(0) / pooled_TB1.sum(0)
    return torch.cat([last_BE, max_BE, mean_BE], 1)
