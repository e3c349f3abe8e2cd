"""What may be added to a classifier's loss: AR, TAR and the language model's own loss on the documents it reads.

Like the language model's losses (losses.py) they are means over the whole batch, whatever a rank holds of it.
"""

# ruff: noqa: N806 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ulmfit_dist.models.classifier import Chunk
from ulmfit_dist.models.decoder_loss import decoder_cross_entropy
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.losses import activation_sum


@dataclass(frozen=True)
class Additions:
    """Weights of activation regularization, of its temporal form, and of the language model's loss; 0: left out."""

    ar_alpha: float = 0.0
    tar_beta: float = 0.0
    lm_weight: float = 0.0

    @property
    def any(self) -> bool:
        """Whether anything is added."""
        return bool(self.ar_alpha or self.tar_beta or self.lm_weight)


class AddedLoss:
    """Gathers, chunk by chunk, what is added to a batch's loss: `watch` for TextClassifier.encode, then `total`.

    The language model's decoder is its embedding, `decoder_weight` (V, E), trained along; `decoder_bias` (V,) stays.
    """

    def __init__(self, additions: Additions, decoder_weight: Tensor, decoder_bias: Tensor | None) -> None:
        self._additions, self._weight, self._bias = additions, decoder_weight, decoder_bias
        self._sums = [decoder_weight.new_zeros(()) for _ in range(3)]
        self._counts = torch.zeros(3, dtype=torch.float64, device=decoder_weight.device)

    def watch(self, chunk: Chunk) -> None:
        """Take a chunk in."""
        size, wanted = chunk.out_TBE.shape[-1], self._additions
        if wanted.ar_alpha:
            self._add(0, activation_sum(chunk.out_TBE[chunk.valid_TB]), chunk.valid_TB.sum() * size)
        if wanted.tar_beta:
            pairs_TB = chunk.valid_TB[1:] & chunk.valid_TB[:-1]
            change = (chunk.out_TBE[1:] - chunk.out_TBE[:-1])[pairs_TB]
            self._add(1, activation_sum(change), pairs_TB.sum() * size)
        if wanted.lm_weight:
            kept, ids = chunk.out_TBE[chunk.followed_TB], chunk.next_TB[chunk.followed_TB]
            self._add(2, decoder_cross_entropy(kept, self._weight, self._bias, ids), chunk.followed_TB.sum())

    def total(self, group: Group, *, counted: bool) -> Tensor:
        """Return this rank's share, times the world size, of the batch's means; every rank calls it.

        counted: False for a rank that runs along without documents of its own.
        """
        counts = group.total(self._counts * counted).clamp(min=1).to(self._sums[0])
        weights = (self._additions.ar_alpha, self._additions.tar_beta, self._additions.lm_weight)
        means = [weight * part / count for weight, part, count in zip(weights, self._sums, counts, strict=True)]
        return torch.stack(means).sum() * (group.world_size * counted)

    def _add(self, index: int, value: Tensor, count: Tensor) -> None:
        self._sums[index] = self._sums[index] + value
        self._counts[index] += count
