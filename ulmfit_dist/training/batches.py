"""Batches of whole documents for a classifier: pure functions of lengths, seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ulmfit_dist.corpus.lanes import epoch_order


def stratified_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int, drawn: np.ndarray | None = None
) -> list[list[int]]:
    """Return the batches of a training epoch as document indices: every document once, all lengths in every batch.

    The documents, sorted by length, are dealt out to the batches like cards, the batches in a new order each round:
    a batch has one of the longest, one of the next, and so on to the shortest, and the file's order, by class say, does
    not matter. Inside a batch the longest is first. Sizes differ by one at most and are at least 2, as batch norm
    needs. The batch with the longest document is the first, to meet an out-of-memory at once.

    Not the ancestors' sort-ish batches of one length: what is pooled depends on the length, so that batch norm then
    trains on other means and deviations than it predicts with (TREC-6, a small model, three seeds: 65 % right, 46 %
    with sort-ish batches).
    `drawn`: take these documents, some perhaps more than once, instead of each one (`balanced_draw`).
    """
    order = epoch_order(len(lengths) if drawn is None else len(drawn), seed, epoch)
    order = order if drawn is None else drawn[order]
    order = order[np.argsort(-np.asarray(lengths, np.int64)[order], kind="stable")]
    count = max(1, min(-(-len(order) // batch_size), len(order) // 2))
    rounds = -(-len(order) // count)
    # An epoch number that no epoch has gives a draw of its own.
    batch_of = epoch_order(rounds * count, seed, -1 - epoch).reshape(rounds, count).argsort(1, kind="stable")
    dealt = np.full((rounds, count), -1, np.int64)
    dealt[np.repeat(np.arange(rounds), count)[: len(order)], batch_of.ravel()[: len(order)]] = order
    batches: list[list[int]] = [column[column >= 0].tolist() for column in dealt.T]
    batches.insert(0, batches.pop(int(batch_of[0, 0])))
    return batches


def balanced_draw(labels: Sequence[int], seed: int, epoch: int) -> np.ndarray:
    """Return as many documents as there are, (n,) int64, drawn so that every class that occurs is equally frequent.

    A class is gone through as often as its share allows and the rest is drawn anew each epoch, so that a frequent
    class is seen whole over several epochs.
    """
    known = np.asarray(labels, np.int64)
    shuffled = epoch_order(len(known), seed, epoch)
    classes = np.unique(known)
    parts = []
    for place, name in enumerate(classes):
        quota = len(known) * (place + 1) // len(classes) - len(known) * place // len(classes)
        members = shuffled[known[shuffled] == name]
        parts.append(np.resize(members, quota))
    return np.concatenate(parts)


def length_batches(lengths: Sequence[int], max_documents: int, max_tokens: int) -> list[list[int]]:
    """Return batches for prediction: sorted by length, longest first, bounded in documents and in padded tokens."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        full = not batches or len(batches[-1]) >= max_documents
        if full or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > max_tokens:
            batches.append([])
        batches[-1].append(index)
    return batches


def pad_documents(documents: Sequence[np.ndarray], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return tokens (T, B) int64 padded at the end, and which of them are real (T, B) bool."""
    lengths = np.array([len(document) for document in documents])
    tokens = np.full((len(documents), int(lengths.max())), pad_id, np.int64)
    for row, document in zip(tokens, documents, strict=True):
        row[: len(document)] = document
    valid = np.arange(tokens.shape[1]) < lengths[:, None]
    return torch.from_numpy(np.ascontiguousarray(tokens.T)), torch.from_numpy(np.ascontiguousarray(valid.T))
