"""The language model's objective with global denominators, so that any split of the lanes over ranks is exact.

DDP averages the ranks' gradients. Each rank's loss is therefore its own sum, divided by the count over all lanes and
multiplied by the world size: the average is then the global mean, however many lanes or valid tokens a rank holds.
"""

# ruff: noqa: N803, N806, N815 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ulmfit_dist.models.decoder_loss import decoder_cross_entropy
from ulmfit_dist.models.encoder import EncoderOutput
from ulmfit_dist.models.language_model import LanguageModel


@dataclass(frozen=True)
class Denominators:
    """Counts over all lanes of a window: `tokens` are targets, `pairs` neighbours in time that are both targets."""

    tokens: int
    pairs: int
    world_size: int = 1

    @classmethod
    def of_window(cls, num_valid: int, num_lanes: int, world_size: int) -> Denominators:
        """Count from arithmetic alone: lanes differ by at most one token, at the end of the last window."""
        return cls(num_valid, max(num_valid - num_lanes, 0), world_size)


@dataclass(frozen=True)
class Penalties:
    """Weights of activation regularization and of its temporal form (Merity et al. 2017, section 4.6)."""

    ar_alpha: float = 2.0
    tar_beta: float = 1.0


class LMLoss(NamedTuple):
    """`total` is what is differentiated; `cross_entropy_sum` is this rank's sum over its targets, in nats."""

    total: Tensor
    cross_entropy_sum: Tensor


def lm_loss(
    model: LanguageModel, out: EncoderOutput, targets: Targets, penalties: Penalties, denominators: Denominators
) -> LMLoss:
    """Return cross entropy + AR + TAR of this rank's lanes."""
    world_size, size = denominators.world_size, out.raw_TBE.shape[-1]
    kept = targets.select(out.dropped_TBE)
    ce = decoder_cross_entropy(kept, model.decoder_weight, model.decoder_bias, targets.ids_N)
    total = ce * (world_size / denominators.tokens)
    if penalties.ar_alpha:
        total = total + activation_sum(kept) * (penalties.ar_alpha * world_size / (denominators.tokens * size))
    if penalties.tar_beta and denominators.pairs:
        change = temporal_sum(out.raw_TBE, targets.valid_TB)
        total = total + change * (penalties.tar_beta * world_size / (denominators.pairs * size))
    return LMLoss(total, ce.detach())


class Targets(NamedTuple):
    """The valid targets of a window in one row, and where they stand; None when every place is valid."""

    ids_N: Tensor
    valid_TB: Tensor | None

    def select(self, out_TBE: Tensor) -> Tensor:
        """Return the outputs (N, E) that have a target."""
        return out_TBE.flatten(0, 1) if self.valid_TB is None else out_TBE[self.valid_TB]

    def dense(self, shape: Sequence[int]) -> Tensor:
        """Return the targets in their places (T, B), -1 where there is none."""
        if self.valid_TB is None:
            return self.ids_N.view(*shape)
        return torch.full_like(self.valid_TB, -1, dtype=torch.int64).masked_scatter_(self.valid_TB, self.ids_N)

    def of_lanes(self, lanes: slice, shape: Sequence[int]) -> Targets:
        """Return those of some lanes of a window of this shape (T, B)."""
        ids_TB = self.dense(shape)[:, lanes]
        if self.valid_TB is None:
            return Targets(ids_TB.flatten(), None)
        valid_TB = self.valid_TB[:, lanes]
        return Targets(ids_TB[valid_TB], valid_TB)


def activation_sum(dropped_NE: Tensor) -> Tensor:
    """Sum of squares of the dropped outputs; AR is alpha times its mean."""
    return dropped_NE.float().pow(2).sum()


def temporal_sum(raw_TBE: Tensor, valid_TB: Tensor | None) -> Tensor:
    """Sum of squared changes from one time step to the next; TAR is beta times its mean."""
    change = (raw_TBE[1:] - raw_TBE[:-1]).float()
    # Valid places are a prefix of each lane: a pair is valid when its later place is.
    return (change if valid_TB is None else change[valid_TB[1:]]).pow(2).sum()
