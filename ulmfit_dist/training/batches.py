"""Batches of whole documents for a classifier: pure functions of lengths, seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ulmfit_dist.corpus.lanes import epoch_order

_CHUNK_BATCHES = 50  # documents of so many batches are sorted together (fast.ai 2018 SortishSampler)


def sortish_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int, drawn: np.ndarray | None = None
) -> list[list[int]]:
    """Return the batches of a training epoch as document indices: every document once, like with like in length.

    Documents are shuffled over the whole file first, so that its order, by class say, does not matter. Then chunks
    of 50 batches are sorted by length, and the batches are shuffled; the longest is first, to meet an
    out-of-memory at once. A last batch of one document joins the one before: batch norm needs two.
    `drawn`: take these documents, some perhaps more than once, instead of each one (`balanced_draw`).
    """
    order = epoch_order(len(lengths) if drawn is None else len(drawn), seed, epoch)
    order = order if drawn is None else drawn[order]
    sizes = np.asarray(lengths, np.int64)
    chunk = batch_size * _CHUNK_BATCHES
    chunks = [order[start : start + chunk] for start in range(0, len(order), chunk)]
    ordered = np.concatenate([part[np.argsort(-sizes[part], kind="stable")] for part in chunks])
    batches = [ordered[start : start + batch_size].tolist() for start in range(0, len(ordered), batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        alone = batches.pop()
        batches[-1] += alone
    # An epoch number that no epoch has gives the batches an order of their own.
    shuffled = [batches[i] for i in epoch_order(len(batches), seed, -1 - epoch)]
    longest = max(range(len(shuffled)), key=lambda i: max(lengths[j] for j in shuffled[i]))
    return [shuffled.pop(longest), *shuffled]


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
