"""Dropout masks as a pure function of (seed, step, site): no random state lives anywhere, so none needs saving.

Merity et al. 2017 (arXiv 1708.02182), sections 2 and 4: weight drop, locked (variational) dropout, embedding dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import torch
import xxhash
from torch import Tensor


def seeded_generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """Return a fresh generator whose stream depends on the key alone: never on the process or on earlier draws."""
    # The CPU engine reads the low 32 bits only.
    return torch.Generator(device=device).manual_seed(site_key(*key))


def site_key(*key: int | str) -> int:
    """Return the number from 0 to 2^63 - 1 that stands for a key: the seed of every stream of random numbers."""
    # The mask keeps the number in range for every device.
    return xxhash.xxh3_64_intdigest("\x1f".join(str(part) for part in key).encode()) & 0x7FFF_FFFF_FFFF_FFFF


class DropoutMasks:
    """The masks of one training step, for the lanes that this rank holds.

    `lanes` are this rank's lanes out of `num_lanes`: locked masks are drawn for all lanes and sliced, the others are
    the same on every rank, so that the masks do not depend on the world size. A mask is drawn once a step and
    kept: several chunks of one window see the same one. On CUDA the stream of numbers is the GPU's own; the ranks
    agree when their GPUs are of one model. `fast_lm` draws its masks from the same keys, but by place instead of in a
    stream (`kernels.masks`): other numbers, equal on every GPU.
    """

    def __init__(self, seed: int, step: int, lanes: range, num_lanes: int, device: torch.device | str = "cpu") -> None:
        self._seed, self._step, self._device = seed, step, torch.device(device)
        self._lanes, self._num_lanes = lanes, num_lanes
        self._drawn: dict[str, Tensor] = {}

    def first(self, count: int) -> DropoutMasks:
        """Return the same masks for the first `count` of these lanes alone."""
        narrow = copy(self)
        narrow._lanes = range(self._lanes.start, self._lanes.start + count)  # noqa: SLF001 - of this class
        return narrow

    def bernoulli(self, site: str, shape: Sequence[int], p: float) -> Tensor | None:
        """Return a mask of 0 and 1/(1-p), or None when nothing is dropped."""
        if p == 0:
            return None
        if site not in self._drawn:
            generator = seeded_generator(self._device, self._seed, self._step, site)
            mask = torch.empty(tuple(shape), device=self._device)
            self._drawn[site] = mask.bernoulli_(1 - p, generator=generator).div_(1 - p)
        return self._drawn[site]

    def locked(self, site: str, size: int, p: float) -> Tensor | None:
        """Return a mask (1, B, size) for this rank's lanes, constant over time."""
        mask = self.bernoulli(site, (1, self._num_lanes, size), p)
        return None if mask is None else mask[:, self._lanes.start : self._lanes.stop]

    def rows(self, site: str, vocab_size: int, p: float) -> Tensor | None:
        """Return a mask (V,): a dropped word is dropped everywhere in the window (Gal and Ghahramani 2016)."""
        return self.bernoulli(site, (vocab_size,), p)

    def weight(self, site: str, shape: Sequence[int], p: float) -> Tensor | None:
        """Return a mask over a recurrent weight matrix (DropConnect)."""
        return self.bernoulli(site, shape, p)


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Multiply by a mask in the dtype of `x`; None leaves `x` as it is."""
    return x if mask is None else x * mask.to(x.dtype)
