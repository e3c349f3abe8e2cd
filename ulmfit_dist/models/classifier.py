"""The ULMFiT classifier: encoder, BPT3C over long documents, concat pooling, two-layer head (paper section 3.3)."""

# ruff: noqa: N803, N806, N815 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from pydantic import Field, model_validator
from torch import Tensor, nn

from ulmfit_dist.config import Settings
from ulmfit_dist.models.dropout import DropoutMasks, masked, seeded_generator
from ulmfit_dist.models.encoder import Encoder, LayerGroup, State, detach_state
from ulmfit_dist.models.language_model import LanguageModel, make_encoder
from ulmfit_dist.models.settings import EncoderSettings


class ClassifierSettings(Settings):
    """Head and dropouts of the paper (section 4.1) for `drop_mult` 1, and the chunks of BPT3C.

    What the head pools is not dropped, as in the ancestors, whose output dropout is the head's first: before the
    pooling it hides what tells documents apart, a few hundredths of what they have in common (BENCHMARKS.md).
    """

    hidden_dropout: float = Field(default=0.3, ge=0, lt=1, description="locked dropout between layers")
    input_dropout: float = Field(default=0.4, ge=0, lt=1, description="locked dropout on the embedded tokens")
    embedding_dropout: float = Field(default=0.05, ge=0, lt=1, description="share of the vocabulary dropped in a batch")
    weight_dropout: float = Field(default=0.5, ge=0, lt=1, description="dropout on the recurrent weights, once a batch")
    head_hidden: int | tuple[int, ...] = Field(
        default=50, description="units between the head's layers; several for more layers"
    )
    head_dropouts: tuple[float, ...] = Field(default=(0.4, 0.1), description="dropout before each of the head's layers")
    pooling: Literal["concat", "last"] = Field(
        default="concat", description="last, highest and mean output of a document (concat), or its last alone"
    )
    bptt: int = Field(default=70, ge=1, description="tokens of a chunk; gradients stop at its start")
    max_length: int = Field(
        default=1400, ge=1, description="how many of a document's last tokens are pooled (20 chunks of 70)"
    )

    @model_validator(mode="after")
    def _one_dropout_a_layer(self) -> Self:
        if len(self.head_dropouts) != len(self.hidden_sizes) + 1 or min(self.hidden_sizes, default=1) < 1:
            msg = f"a head of {len(self.hidden_sizes) + 1} layers needs as many head_dropouts, and units in each layer"
            raise ValueError(msg)
        return self

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units of each of the head's layers but the last."""
        return (self.head_hidden,) if isinstance(self.head_hidden, int) else self.head_hidden

    def scaled(self, drop_mult: float) -> ClassifierSettings:
        """Return the same settings with every dropout multiplied (fastai's `drop_mult`)."""
        names = [name for name in type(self).model_fields if name.endswith("_dropout")]
        scaled = {name: getattr(self, name) * drop_mult for name in names}
        heads = [p * drop_mult for p in self.head_dropouts]
        return type(self).model_validate({**self.model_dump(), **scaled, "head_dropouts": heads})

    def encoder_settings(self, language_model: EncoderSettings) -> EncoderSettings:
        """Return the language model's sizes with the classifier's dropouts, and none on the last layer's output."""
        dropouts = {name: value for name, value in self.model_dump().items() if name.endswith("_dropout")}
        return type(language_model).model_validate({**language_model.model_dump(), **dropouts, "output_dropout": 0.0})


class PoolingHead(nn.Module):
    """Batch norm, dropout, linear for each layer, ReLU between. Initial weights are a function of the seed."""

    def __init__(self, sizes: tuple[int, ...], dropouts: tuple[float, ...], seed: int) -> None:
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


class Chunk(NamedTuple):
    """What the encoder made of a chunk that is pooled: its outputs, and the tokens after each.

    Lanes whose documents ended before the chunk are left out. `valid_TB` is True where an output is pooled,
    `followed_TB` where besides a token follows.
    """

    out_TBE: Tensor
    next_TB: Tensor
    valid_TB: Tensor
    followed_TB: Tensor


class TextClassifier(nn.Module):
    """Documents to class scores; a document's scores do not depend on its batch mates nor on the padding's side."""

    def __init__(
        self, encoder: Encoder, num_classes: int, settings: ClassifierSettings | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.encoder, self.num_classes = encoder, num_classes
        self.settings = settings or ClassifierSettings()
        pooled = encoder.settings.embedding_size * (3 if self.settings.pooling == "concat" else 1)
        sizes = (pooled, *self.settings.hidden_sizes, num_classes)
        self.head = PoolingHead(sizes, self.settings.head_dropouts, seed)

    @classmethod
    def from_language_model(
        cls, model: LanguageModel, num_classes: int, settings: ClassifierSettings, seed: int = 0
    ) -> TextClassifier:
        """Return a classifier on a copy of the language model's encoder, with a fresh head."""
        source = model.encoder
        encoder = make_encoder(source.vocab_size, settings.encoder_settings(source.settings), source.pad_id)
        encoder.load_state_dict(source.state_dict())
        return cls(encoder, num_classes, settings, seed)

    def forward(self, tokens_TB: Tensor, valid_TB: Tensor, masks: DropoutMasks | None = None) -> Tensor:
        """Return the logits (B, C).

        Args: tokens_TB int64; valid_TB bool, False where a token is padding, at least one True a document.
        """
        return self.head(self.encode(tokens_TB, valid_TB, masks), masks)  # type: ignore[no-any-return]

    def encode(
        self,
        tokens_TB: Tensor,
        valid_TB: Tensor,
        masks: DropoutMasks | None = None,
        watch: Callable[[Chunk], None] | None = None,
    ) -> Tensor:
        """Return what the head reads (B, 3E): the pooled outputs of each document; `watch` sees every pooled chunk.

        BPT3C: chunk by chunk, the state carried and detached. What no document pools needs no gradient and no room,
        and a document that has ended leaves the batch: beside one of 50,000 tokens, short ones cost their own length.
        Batches of falling length gain most, since the lanes that go on are always the first ones.
        """
        tokens_TB, lengths_B = _compact(tokens_TB, valid_TB)
        lengths, pool = lengths_B.tolist(), _Pool(lengths_B, self.settings.max_length)
        state = self.encoder.initial_state(tokens_TB.shape[1], tokens_TB.device)
        for begin in range(0, tokens_TB.shape[0], self.settings.bptt):
            chunk_TB = tokens_TB[begin : begin + self.settings.bptt]
            going = [lane for lane, length in enumerate(lengths) if length > begin]
            lanes = going[-1] + 1
            end = begin + chunk_TB.shape[0]
            pooled = any(lengths[lane] - self.settings.max_length < end for lane in going)
            with torch.set_grad_enabled(pooled and torch.is_grad_enabled()):
                narrow = masks.first(lanes) if masks else None
                out = self.encoder(chunk_TB[:, :lanes], _first_lanes(state, lanes), narrow)
            state = detach_state(out.state)
            if pooled:
                pool.add(begin, out.raw_TBE.float())
                if watch is not None:
                    watch(_chunk(out.raw_TBE, tokens_TB[begin + 1 : end + 1, :lanes], pool.places(begin, end, lanes)))
        return pool.last_BE if self.settings.pooling == "last" else pool.concat()

    def layer_groups(self) -> list[LayerGroup]:
        """Return the paper's layers, lowest first: emb, rnn0, rnn1, ..., head."""
        return [*self.encoder.layer_groups(), ("head", list(self.head.parameters()))]


def _compact(tokens_TB: Tensor, valid_TB: Tensor) -> tuple[Tensor, Tensor]:
    """Move every document's tokens to the front, in order; return them with the lengths."""
    order_TB = torch.argsort((~valid_TB).to(torch.uint8), dim=0, stable=True)
    lengths_B = valid_TB.sum(0)
    return tokens_TB.gather(0, order_TB)[: int(lengths_B.max())], lengths_B


class _Pool:
    """Last, max and mean over each document's last `max_length` outputs, gathered chunk by chunk (paper section 3.3).

    Every lane is in the first chunk that is added; later ones hold the first lanes only.
    """

    def __init__(self, lengths_B: Tensor, max_length: int) -> None:
        self._lengths_B, self._max_length = lengths_B, max_length
        self._max_BE = self._sum_BE = self.last_BE = torch.empty(0)

    def places(self, begin: int, end: int, lanes: int) -> tuple[Tensor, Tensor]:
        """Return which outputs of the chunk are pooled, and which are the last of their documents (T, B)."""
        position_T1 = torch.arange(begin, end, device=self._lengths_B.device)[:, None]
        lengths_B = self._lengths_B[:lanes]
        pooled_TB = (position_T1 < lengths_B) & (position_T1 >= lengths_B - self._max_length)
        return pooled_TB, position_T1 == lengths_B - 1

    def add(self, begin: int, out_TBE: Tensor) -> None:
        """Take in the outputs of the chunk that starts at `begin`."""
        steps, lanes = out_TBE.shape[:2]
        pooled_TB1, last_TB1 = (places.unsqueeze(-1) for places in self.places(begin, begin + steps, lanes))
        last_BE = (out_TBE * last_TB1).sum(0)
        max_BE = out_TBE.masked_fill(~pooled_TB1, float("-inf")).amax(0)
        sum_BE = (out_TBE * pooled_TB1).sum(0)
        if len(self.last_BE):
            last_BE = torch.cat([self.last_BE[:lanes] + last_BE, self.last_BE[lanes:]])
            max_BE = torch.cat([torch.maximum(self._max_BE[:lanes], max_BE), self._max_BE[lanes:]])
            sum_BE = torch.cat([self._sum_BE[:lanes] + sum_BE, self._sum_BE[lanes:]])
        self.last_BE, self._max_BE, self._sum_BE = last_BE, max_BE, sum_BE

    def concat(self) -> Tensor:
        """Return [last, max, mean] (B, 3E)."""
        counts_B1 = self._lengths_B.clamp(max=self._max_length).unsqueeze(-1)
        return torch.cat([self.last_BE, self._max_BE, self._sum_BE / counts_B1], 1)


def _first_lanes(state: State, lanes: int) -> State:
    return [(hidden[:, :lanes], cell[:, :lanes]) for hidden, cell in state]


def _chunk(out_TBE: Tensor, next_TB: Tensor, places: tuple[Tensor, Tensor]) -> Chunk:
    pooled_TB, last_TB = places
    # The batch's last token has none after it.
    next_TB = F.pad(next_TB, (0, 0, 0, out_TBE.shape[0] - next_TB.shape[0]))
    return Chunk(out_TBE, next_TB, pooled_TB, pooled_TB & ~last_TB)
