"""Batches of documents: pure in (seed, epoch), every document once, no trace of the file's order."""

from __future__ import annotations

import numpy as np
import pytest

from ulmfit_dist.training.batches import length_batches, pad_documents, sortish_batches

LENGTHS = np.random.default_rng(0).integers(1, 200, 1001).tolist()


@pytest.mark.parametrize(("count", "batch_size"), [(1001, 8), (1001, 2), (9, 4), (2, 64), (3, 2), (64, 64)])
def test_every_document_once_and_no_batch_of_one(count: int, batch_size: int) -> None:
    batches = sortish_batches(LENGTHS[:count], batch_size, 1, 0)
    assert sorted(i for batch in batches for i in batch) == list(range(count))
    assert all(2 <= len(batch) <= batch_size + 1 for batch in batches)


def test_a_function_of_seed_and_epoch() -> None:
    one = sortish_batches(LENGTHS, 8, 1, 3)
    assert one == sortish_batches(LENGTHS, 8, 1, 3)
    assert one != sortish_batches(LENGTHS, 8, 1, 4)
    assert one != sortish_batches(LENGTHS, 8, 2, 3)


def test_batches_hold_like_lengths_and_start_with_the_longest() -> None:
    batches = sortish_batches(LENGTHS, 8, 1, 0)
    assert max(LENGTHS[i] for i in batches[0]) == max(LENGTHS)
    spread = [max(LENGTHS[i] for i in batch) - min(LENGTHS[i] for i in batch) for batch in batches]
    # Random batches of 8 spread over about 155 of 200; sorted chunks of 400 hold neighbours.
    assert np.mean(spread) < 20
    tops = [max(LENGTHS[i] for i in batch) for batch in batches]
    assert tops != sorted(tops, reverse=True)


def test_a_file_ordered_by_class_gives_mixed_batches() -> None:
    lengths = [20 + i % 3 for i in range(1000)]
    batches = sortish_batches(lengths, 20, 1, 0)
    shares = [sum(i < 500 for i in batch) / len(batch) for batch in batches]
    assert 0.4 < np.mean(shares) < 0.6
    assert sum(share in (0.0, 1.0) for share in shares) == 0


def test_length_batches_are_bounded() -> None:
    batches = length_batches(LENGTHS, 16, 1000)
    assert sorted(i for batch in batches for i in batch) == list(range(1001))
    for batch in batches:
        assert len(batch) <= 16
        assert len(batch) == 1 or len(batch) * max(LENGTHS[i] for i in batch) <= 1000


def test_padding() -> None:
    tokens, valid = pad_documents([np.array([2, 5, 6]), np.array([2], np.uint32)], 1)
    assert tokens.tolist() == [[2, 2], [5, 1], [6, 1]]
    assert valid.tolist() == [[True, True], [True, False], [True, False]]
