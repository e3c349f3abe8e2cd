"""Pooled outputs of whole documents on a CPU, in lanes that are never padded: when a document ends, the next begins.

Documents are laid end to end into lanes of nearly equal length, longest first, so every lane works at nearly every
step, and a document of 50,000 tokens delays no other. Threads have lanes of their own and never wait for each other.
"""

# ruff: noqa: N803, N806, N815 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import heapify, heapreplace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ulmfit_dist.models.classifier import TextClassifier
from ulmfit_dist.models.packed_lstm import LaneState, PackedLSTM, Precision

Ids = NDArray[np.int64]
Events = dict[int, Tensor]

_FEWEST, _MOST = 128, 256  # lanes of a thread: below, products are slow; above, a step leaves the core's own cache
_WAVE_TOKENS = 4_000_000  # laid into lanes at a time: 32 MB of ids
_ROW_BYTES = 64_000_000  # of the first layer's word rows that are held at a time


@dataclass(frozen=True)
class LanePlan:
    """Documents in lanes, longest lane first: `tokens_TB`, of which the first `active_T[t]` lanes are at work at t.

    `ends` and `restarts` hold rows (lane, document) by step: after the step the document is complete, before it is
    pooled the pooling starts over (only the last tokens of a long document count).
    """

    tokens_TB: Tensor
    active_T: list[int]
    ends: Events
    restarts: Events


def plan_lanes(documents: Sequence[Ids], lanes: int, max_length: int) -> LanePlan:
    """Lay every document into one of at most so many lanes, always into the shortest, longest first."""
    shares: list[list[int]] = [[] for _ in range(min(lanes, len(documents)))]
    loads = [(0, lane) for lane in range(len(shares))]
    heapify(loads)
    for index in sorted(range(len(documents)), key=lambda i: (-len(documents[i]), i)):
        load, lane = loads[0]
        shares[lane].append(index)
        heapreplace(loads, (load + len(documents[index]), lane))
    loads.sort(key=lambda load: (-load[0], load[1]))
    lengths = np.array([load for load, _ in loads])
    tokens = np.zeros((_shape_of(len(loads)), lengths[0]), np.int64)
    ends, restarts = [], []
    for row, (_, lane) in enumerate(loads):
        start = 0
        for index in shares[lane]:
            size = len(documents[index])
            tokens[row, start : start + size] = documents[index]
            ends.append((start + size - 1, row, index))
            if size > max_length:
                restarts.append((start + size - max_length, row, index))
            start += size
    active_T = [_shape_of(int(count)) for count in np.searchsorted(-lengths, -np.arange(lengths[0]))]
    return LanePlan(torch.from_numpy(np.ascontiguousarray(tokens.T)), active_T, _by_step(ends), _by_step(restarts))


@torch.no_grad()
def score_documents(model: TextClassifier, documents: Sequence[Ids], precision: Precision = "float32") -> Tensor:
    """Return the logits (N, C) of a classifier in evaluation mode whose encoder `packed_lstm.supported` takes.

    Raises InputError for int8 on a CPU without products of int8.
    """
    pooled = pool_documents(PackedLSTM(model.encoder, precision, _MOST), documents, model.settings.max_length)
    return model.head(pooled if model.settings.pooling == "concat" else pooled.chunk(3, 1)[0], None)  # type: ignore[no-any-return]


def pool_documents(packed: PackedLSTM, documents: Sequence[Ids], max_length: int) -> Tensor:
    """Return last, max and mean over each document's last `max_length` outputs (N, 3E), without gradient.

    Uses as many threads as torch would. A document's row does not depend on the others beyond rounding (1e-6).
    """
    out = torch.empty(len(documents), 3 * packed.sizes[-1])
    threads = torch.get_num_threads()

    def run(mine: list[int]) -> None:
        with torch.inference_mode():
            out[mine] = _pool_share(packed, [documents[i] for i in mine], max_length)

    shares = [share for wave in _waves(documents) for share in (wave[k::threads] for k in range(threads)) if share]
    # Threads that start now take the one thread each from torch's setting.
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, shares))
    finally:
        torch.set_num_threads(threads)
    return out


def fill_lanes(documents: Sequence[Ids]) -> bool:
    """Whether the documents are many enough to keep every thread's lanes at work: else windows are faster.

    In float32 and windows of oneDNN's own LSTM 64 reviews took 0.4 of the time that they take in lanes, 1,500 took 1.1.
    """
    lengths = [len(document) for document in documents]
    return sum(lengths) >= _FEWEST * torch.get_num_threads() * max(lengths, default=1)


def _waves(documents: Sequence[Ids]) -> Iterator[list[int]]:
    """Cut the documents, longest first, into parts whose ids are laid out at once."""
    wave: list[int] = []
    tokens = 0
    for index in sorted(range(len(documents)), key=lambda i: (-len(documents[i]), i)):
        if wave and tokens + len(documents[index]) > _WAVE_TOKENS:
            yield wave
            wave, tokens = [], 0
        wave.append(index)
        tokens += len(documents[index])
    if wave:
        yield wave


def _pool_share(packed: PackedLSTM, documents: Sequence[Ids], max_length: int) -> Tensor:
    lengths = [len(document) for document in documents]
    # As many lanes as the longest document leaves full: more would only stand idle beside it.
    lanes = min(_MOST, max(_FEWEST, sum(lengths) // max(lengths)))
    plan = plan_lanes(documents, lanes, max_length)
    width = plan.tokens_TB.shape[1]
    state, pool = LaneState(packed, width), _Pool(width, len(documents), packed.sizes[-1])
    for step, rows in enumerate(_word_rows(packed, plan.tokens_TB)):
        outputs = state.step(rows(plan.active_T[step]))
        if step in plan.restarts:
            pool.clear(plan.restarts[step][:, 0])
        pool.add(outputs)
        if step in plan.ends:
            pool.finish(plan.ends[step], outputs)
            state.clear(plan.ends[step][:, 0])
    counts = torch.tensor(lengths).clamp(max=max_length)
    return pool.concat(counts)


class _Pool:
    """The highest and the sum of the outputs of each lane's document so far, and the rows of those that ended."""

    def __init__(self, lanes: int, documents: int, size: int) -> None:
        self._highest, self._sum = torch.full((lanes, size), -torch.inf), torch.zeros(lanes, size)
        self._rows = torch.empty(3, documents, size)

    def clear(self, lanes: Tensor) -> None:
        self._highest.index_fill_(0, lanes, -torch.inf)
        self._sum.index_fill_(0, lanes, 0)

    def add(self, outputs_BE: Tensor) -> None:
        highest, total = self._highest[: len(outputs_BE)], self._sum[: len(outputs_BE)]
        torch.maximum(highest, outputs_BE, out=highest)
        total.add_(outputs_BE)

    def finish(self, ends: Tensor, outputs_BE: Tensor) -> None:
        lanes, documents = ends.unbind(1)
        for rows, values in zip(self._rows, (outputs_BE, self._highest, self._sum), strict=True):
            rows.index_copy_(0, documents, values.index_select(0, lanes))
        self.clear(lanes)

    def concat(self, counts: Tensor) -> Tensor:
        """Return [last, max, mean] (N, 3E); what was added were halves."""
        last, highest, total = self._rows
        return torch.cat([last, highest, total / counts[:, None]], 1) * 2


def _word_rows(packed: PackedLSTM, tokens_TB: Tensor) -> Iterator[Callable[[int], Tensor]]:
    """Yield for each step what gives its first lanes' word rows, each of which is computed once for many steps."""
    steps = max(1, _ROW_BYTES // (tokens_TB.shape[1] * 4 * 4 * packed.sizes[0]))
    for begin in range(0, len(tokens_TB), steps):
        words, places = torch.unique(tokens_TB[begin : begin + steps], return_inverse=True)
        rows = packed.word_rows(words)
        for step in places:
            yield lambda lanes, step=step, rows=rows: rows.index_select(0, step[:lanes])  # type: ignore[misc]


def _by_step(rows: list[tuple[int, int, int]]) -> Events:
    table = np.array(sorted(rows), np.int64).reshape(-1, 3)
    steps, starts = np.unique(table[:, 0], return_index=True)
    parts = np.split(table, starts[1:])
    return {int(step): torch.from_numpy(part[:, 1:].copy()) for step, part in zip(steps, parts, strict=False)}


def _shape_of(lanes: int) -> int:
    """Round lanes up to one of a few numbers: oneDNN makes a program for each shape that it meets."""
    return 1 << (lanes - 1).bit_length() if lanes <= 16 else -(-lanes // 16) * 16
