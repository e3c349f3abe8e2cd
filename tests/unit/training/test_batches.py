"""Batches of documents: pure in (seed, epoch), every document once, no trace of the file's order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from ulmfit_dist.corpus.lanes import epoch_order
from ulmfit_dist.training.batches import balanced_draw, length_batches, pad_documents, stratified_batches
from ulmfit_dist.training.group import Group

LENGTHS = np.random.default_rng(0).integers(1, 200, 1001).tolist()


@pytest.mark.parametrize(("count", "batch_size"), [(1001, 8), (1001, 2), (9, 4), (2, 64), (3, 2), (64, 64)])
def test_every_document_once_and_no_batch_of_one(count: int, batch_size: int) -> None:
    batches = stratified_batches(LENGTHS[:count], batch_size, 1, 0)
    assert sorted(i for batch in batches for i in batch) == list(range(count))
    assert all(2 <= len(batch) <= batch_size + 1 for batch in batches)


def test_a_function_of_seed_and_epoch() -> None:
    one = stratified_batches(LENGTHS, 8, 1, 3)
    assert one == stratified_batches(LENGTHS, 8, 1, 3)
    assert one != stratified_batches(LENGTHS, 8, 1, 4)
    assert one != stratified_batches(LENGTHS, 8, 2, 3)


@pytest.mark.parametrize(("count", "batch_size"), [(1001, 64), (1001, 8), (130, 64), (63, 64), (5, 2)])
def test_every_batch_has_the_lengths_of_all_documents_from_the_longest_down(count: int, batch_size: int) -> None:
    lengths = LENGTHS[:count]
    batches = stratified_batches(lengths, batch_size, 1, 0)
    assert max(map(len, batches)) - min(map(len, batches)) <= 1
    assert max(lengths[i] for i in batches[0]) == max(lengths)
    falling = sorted(lengths, reverse=True)
    for batch in batches:
        assert [lengths[i] for i in batch] == sorted((lengths[i] for i in batch), reverse=True)
        # The k-th of a batch is one of the k-th `len(batches)` of all.
        for place, document in enumerate(batch):
            slots = falling[place * len(batches) : (place + 1) * len(batches)]
            assert slots[-1] <= lengths[document] <= slots[0]


def test_documents_meet_others_in_every_epoch() -> None:
    mates = [
        {frozenset((a, b)) for batch in stratified_batches(LENGTHS, 8, 1, epoch) for a in batch for b in batch if a < b}
        for epoch in range(2)
    ]
    # 1,001 documents in 126 batches: about 3,500 pairs, of which chance would repeat one in 126.
    assert len(mates[0] & mates[1]) < len(mates[0]) / 50


def test_a_file_ordered_by_class_gives_mixed_batches() -> None:
    lengths = [20 + i % 3 for i in range(1000)]
    batches = stratified_batches(lengths, 20, 1, 0)
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


def test_a_balanced_epoch_has_every_class_equally_often() -> None:
    labels = [0] * 900 + [1] * 90 + [3] * 11
    seen: set[int] = set()
    for epoch in range(12):
        drawn = balanced_draw(labels, 1, epoch)
        assert np.bincount([labels[i] for i in drawn]).tolist() == [333, 334, 0, 334]
        assert {i for i in drawn if labels[i] == 3} == set(range(990, 1001))
        seen |= set(drawn.tolist())
    assert len(seen) > 990
    assert not np.array_equal(balanced_draw(labels, 1, 0), balanced_draw(labels, 1, 1))
    batches = stratified_batches([5] * 1001, 20, 1, 0, balanced_draw(labels, 1, 0))
    assert sorted(i for batch in batches for i in batch) == sorted(balanced_draw(labels, 1, 0).tolist())


# The two samplers under DDP. fastai gave its language model's to the classifier and had an accuracy of 0.4999.

Sampler = Callable[[int, int, int], list[np.ndarray]]
CLASSES = np.arange(600) >= 300  # a file ordered by class


def _classifiers(epoch: int, rank: int, world_size: int) -> list[np.ndarray]:
    """Documents of each step of a rank, as the classifier's trainer takes them."""
    batches = stratified_batches([30] * 600, 20, 1, epoch)
    lanes = [Group(rank, world_size).lanes(len(batch)) for batch in batches]
    return [np.array(batch)[own.start : own.stop] for batch, own in zip(batches, lanes, strict=True)]


def _language_models(epoch: int, rank: int, world_size: int) -> list[np.ndarray]:
    """Documents of each step of a rank when 20 lanes go through the file side by side and each goes on in its own."""
    order = epoch_order(600, 1, epoch, shuffle=False).reshape(20, 30)
    own = Group(rank, world_size).lanes(20)
    return [order[own.start : own.stop, step] for step in range(30)]


def _is_fit_for_a_classifier(sampler: Sampler) -> bool:
    """Every document once over the ranks, in an order of its own each epoch, and both classes in a rank's steps."""
    epochs = []
    for epoch in (0, 1):
        ranks = [np.concatenate(sampler(epoch, rank, 2)) for rank in range(2)]
        if sorted(np.concatenate(ranks).tolist()) != list(range(600)):
            return False
        epochs.append(ranks[0])
    mixed = [0 < CLASSES[step].mean() < 1 for step in sampler(0, 0, 2)]
    return not np.array_equal(*epochs) and float(np.mean(mixed)) > 0.9


def _is_fit_for_a_language_model(sampler: Sampler) -> bool:
    """A rank's lanes go on from step to step: the document after the last, in every lane."""
    steps = sampler(0, 0, 2)
    return all(np.array_equal(now + 1, after) for now, after in pairwise(steps))


def test_each_of_the_two_samplers_is_fit_for_its_own_model_only() -> None:
    assert _is_fit_for_a_classifier(_classifiers)
    assert not _is_fit_for_a_classifier(_language_models)
    assert _is_fit_for_a_language_model(_language_models)
    assert not _is_fit_for_a_language_model(_classifiers)


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_any_number_of_ranks_sees_the_same_batches(world_size: int) -> None:
    whole = _classifiers(2, 0, 1)
    ranks = [_classifiers(2, rank, world_size) for rank in range(world_size)]
    for step, batch in enumerate(whole):
        assert np.array_equal(np.concatenate([rank[step] for rank in ranks]), batch)
