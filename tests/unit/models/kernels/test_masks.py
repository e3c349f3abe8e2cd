"""Masks from the GPU against Philox 4x32-10 as its paper writes it."""

from __future__ import annotations

import numpy as np
import torch

KEY = 0x1234_5678_9ABC_DEF0


def _philox(counter: np.ndarray, key: int) -> np.ndarray:
    """Return the first word of each block (Salmon et al. 2011): counters (c, 0, 0, 0), ten rounds."""
    c = [counter.astype(np.uint64), *(np.zeros(len(counter), np.uint64) for _ in range(3))]
    low, high, word = key & 0xFFFFFFFF, key >> 32, np.uint64(0xFFFFFFFF)
    for _ in range(10):
        product = [np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]]
        left, right = (part >> np.uint64(32) for part in product)
        c = [right ^ c[1] ^ np.uint64(low), product[1] & word, left ^ c[3] ^ np.uint64(high), product[0] & word]
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    return c[0]


def test_a_mask_is_philox_of_key_and_place() -> None:
    from ulmfit_dist.models.kernels.masks import fill_mask

    rows, columns, p = 7, 1300, 0.25
    out = torch.full((rows, columns + 4), 9.0, device="cuda")
    fill_mask(out[:, :columns], torch.tensor(KEY, device="cuda"), p)
    words = _philox(np.arange(rows * columns), KEY).astype(np.uint32).view(np.int32).astype(np.int64)
    uniform = np.where(words < 0, -words - 1, words) / 2**31
    assert np.array_equal(out[:, :columns].cpu().numpy() > 0, (uniform < 1 - p).reshape(rows, columns))
    assert set(out[:, :columns].unique().tolist()) == {0.0, float(np.float32(1 / (1 - p)))}
    assert (out[:, columns:] == 9).all()


def test_some_rows_are_those_of_all_rows() -> None:
    from ulmfit_dist.models.kernels.masks import fill_mask

    key = torch.tensor(KEY, device="cuda")
    whole, part = torch.empty(9, 70, device="cuda"), torch.empty(4, 70, device="cuda")
    fill_mask(whole, key, 0.4)
    fill_mask(part, key, 0.4, 3)
    assert torch.equal(whole[3:7], part)
