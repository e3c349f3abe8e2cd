"""Codes of short chunks against a dict."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa

import ulmfit_dist.tokenization.hot_chunks as module
from ulmfit_dist.tokenization.hot_chunks import HotChunks


def _batches(seed: int, distinct: int) -> list[list[str]]:
    randomness = random.Random(seed)
    alphabet = "ab\0é語🙂"
    words = ["".join(randomness.choices(alphabet, k=randomness.randrange(19))) for _ in range(distinct)]
    return [randomness.choices(words, k=randomness.randrange(1, 400)) for _ in range(20)]


def _run(hot: HotChunks, batches: list[list[str]]) -> tuple[int, int]:
    """Feed batches as the memo does, checking every code; count chunks and those found."""
    code: dict[str, int] = {}
    total = found = 0
    for batch in batches:
        got, keys = hot.find(pa.array(batch, pa.large_string()))
        for chunk, number in zip(batch, got.tolist(), strict=True):
            assert number in (-1, code.get(chunk, -1)), chunk
        expected = np.array([code.setdefault(chunk, len(code)) for chunk in batch], np.int32)
        hot.add(keys, np.flatnonzero(got < 0), expected)
        total, found = total + len(batch), found + int((got >= 0).sum())
    return total, found


def test_a_found_code_is_the_right_one():
    for seed in range(30):
        total, found = _run(HotChunks(), _batches(seed, 200))
        assert found > total // 3


def test_chunks_that_share_slots_are_kept_apart(monkeypatch):
    monkeypatch.setattr(module, "_SLOT_BITS", 4)
    found = [_run(HotChunks(), _batches(seed, 300))[1] for seed in range(30)]
    assert sum(found) > 0


def test_bytes_that_look_like_padding_are_told_apart():
    hot = HotChunks()
    chunks = ["a", "a\0", "a\0\0", "\0", "\0\0", "a" * 8, "a" * 8 + "\0", "a" * 15, "a" * 16, "b", *["end"] * 30]
    array = pa.array(chunks, pa.large_string())
    codes = np.arange(len(chunks), dtype=np.int32)
    none, keys = hot.find(array)
    assert (none == -1).all()
    hot.add(keys, np.arange(len(chunks)), codes)
    known, _ = hot.find(array)
    assert known[:10].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, -1, 9]


def test_a_slice_of_an_array_and_no_chunks_at_all():
    hot = HotChunks()
    array = pa.array(["one", "two", "three", *["filler"] * 20], pa.large_string())
    _, keys = hot.find(array)
    hot.add(keys, np.arange(len(array)), np.arange(len(array), dtype=np.int32))
    assert hot.find(array.slice(1, 2))[0].tolist() == [1, 2]
    assert hot.find(pa.array([], pa.large_string()))[0].tolist() == []
