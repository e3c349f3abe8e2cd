"""Lanes: what the trainer reads, and in which order. Pure functions of (seed, epoch, step, lane) and the stream.

D is the documents in the epoch's order, concatenated: N tokens. Lane b of B covers the targets
1 + floor(b (N-1) / B) ... floor((b+1) (N-1) / B); its inputs are one earlier. So every token but the first is a target
exactly once an epoch, lanes differ by at most one token, and a lane's text goes on from window to window. Positions in
a lane count its targets from 0. Nothing depends on the number of ranks: a rank asks for its range of lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ulmfit_dist.corpus.stream import TokenStream

Direction = Literal["forward", "backward"]

# AWD-LSTM's main.py: one window in twenty at half the length, a normal jitter of 5 tokens, never under 5.
_FULL_LENGTH_SHARE = 0.95
_JITTER_SD = 5.0
_SHORTEST_WINDOW = 5
_WORD = 2**64
_ORDER_SITE, _WINDOW_SITE = 1, 2


class Window(NamedTuple):
    """The next tokens of some lanes: `inputs` and `targets` (T, B) int64, `valid` (T, B) bool; the rest is padding."""

    inputs: np.ndarray
    targets: np.ndarray
    valid: np.ndarray


def epoch_order(num_documents: int, seed: int, epoch: int, shuffle: bool = True) -> np.ndarray:
    """Return the order of the documents in an epoch, (n,) int64; stream order when not shuffled.

    Sorting raw Philox words, whose values numpy promises to keep, unlike those of `permutation`.
    """
    if not shuffle:
        return np.arange(num_documents, dtype=np.int64)
    words = _philox(seed, epoch, _ORDER_SITE).random_raw(num_documents)
    return np.argsort(words, kind="stable").astype(np.int64)


def window_lengths(num_steps_tokens: int, bptt: int, jitter: bool, seed: int, epoch: int) -> np.ndarray:
    """Return the window lengths (w,) int64 of an epoch, summing to `num_steps_tokens`, the longest lane.

    With jitter as AWD-LSTM draws them: 95 % around bptt, 5 % around bptt / 2, standard deviation 5, at least 5. The
    last window takes what is left.
    """
    if num_steps_tokens <= 0:
        return np.zeros(0, np.int64)
    if not jitter:
        drawn = np.full(-(-num_steps_tokens // bptt), bptt, np.int64)
    else:
        source = _philox(seed, epoch, _WINDOW_SITE)
        blocks: list[np.ndarray] = []
        while sum(int(block.sum()) for block in blocks) < num_steps_tokens:
            blocks.append(_jittered(source.random_raw(3 * 1024).reshape(-1, 3), bptt))
        drawn = np.concatenate(blocks)
    ends = np.minimum(np.cumsum(drawn), num_steps_tokens)
    lengths = np.diff(ends, prepend=0)
    return lengths[lengths > 0]


def reverse_document(ids: np.ndarray) -> np.ndarray:
    """Return the mirror of a document: all of its ids reversed, the beginning marker included and so last."""
    return ids[::-1]


class LaneReader:
    """Reads windows of an epoch: `order` names the documents, `num_lanes` is of the whole (global) batch.

    forward reads D; backward reads the mirror of each document (`reverse_document`), documents in the same order.
    Holds four numbers a document and never the tokens.
    """

    def __init__(self, stream: TokenStream, order: np.ndarray, num_lanes: int, direction: Direction) -> None:
        if num_lanes < 1:
            msg = f"num_lanes must be at least 1, got {num_lanes}"
            raise ValueError(msg)
        self._backward = direction == "backward"
        self._shards = stream.shard_tokens
        self._pad_id = stream.pad_id
        self._lengths = stream.document_lengths[order]
        self._shard = stream.shard_of_document[order]
        self._start = stream.start_in_shard[order]
        self._ends = np.cumsum(self._lengths)
        self.num_lanes = num_lanes
        self.num_targets = max((int(self._ends[-1]) if len(order) else 0) - 1, 0)

    def lane_length(self, lane: int) -> int:
        """Return how many targets a lane has."""
        return self._lane_start(lane + 1) - self._lane_start(lane)

    @property
    def max_lane_length(self) -> int:
        """Targets of the longest lane: the number of steps that the windows of an epoch cover."""
        return -(-self.num_targets // self.num_lanes)

    def num_valid(self, start: int, length: int) -> int:
        """Return the valid targets of a window over ALL lanes, by arithmetic: the loss's global denominator."""
        short, longer = divmod(self.num_targets, self.num_lanes)
        in_longer = min(max(short + 1 - start, 0), length)
        in_short = min(max(short - start, 0), length)
        return longer * in_longer + (self.num_lanes - longer) * in_short

    def window(self, start: int, length: int, lanes: range) -> Window:
        """Return positions start ... start + length - 1 of the given lanes; T = length, B = len(lanes).

        Past the end of a lane `valid` is False and inputs and targets are the pad id.
        """
        lane_starts = np.array([self._lane_start(lane) for lane in lanes], np.int64)
        lane_lengths = np.array([self.lane_length(lane) for lane in lanes], np.int64)
        num_valid = np.clip(lane_lengths - start, 0, length)
        # One token more than targets: the inputs of a window and, one later, its targets.
        num_read = np.where(num_valid > 0, num_valid + 1, 0)
        rows = np.full((len(lanes), length + 1), self._pad_id, np.int64)
        self._read(rows, lane_starts + start, num_read)
        valid = np.arange(length)[:, None] < num_valid[None, :]
        inputs = np.where(valid, rows[:, :-1].T, self._pad_id)
        return Window(np.ascontiguousarray(inputs), np.ascontiguousarray(rows[:, 1:].T), valid)

    def _lane_start(self, lane: int) -> int:
        return lane * self.num_targets // self.num_lanes

    def _read(self, rows: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> None:
        """Copy D[starts[b] : starts[b] + counts[b]] into rows[b], a slice for each document touched."""
        if not counts.any():
            return
        lane_of_row = np.flatnonzero(counts)
        begin_of_row, end_of_row = starts[lane_of_row], (starts + counts)[lane_of_row]
        first_of_row = np.searchsorted(self._ends, begin_of_row, "right")
        pieces_of_row = np.searchsorted(self._ends, end_of_row - 1, "right") - first_of_row + 1
        row = np.repeat(np.arange(len(lane_of_row)), pieces_of_row)
        piece_in_row = np.arange(len(row)) - (np.cumsum(pieces_of_row) - pieces_of_row)[row]
        document = first_of_row[row] + piece_in_row
        ends, lengths = self._ends[document], self._lengths[document]
        origin = ends - lengths
        low = np.maximum(begin_of_row[row], origin)
        high = np.minimum(end_of_row[row], ends)
        # Of the mirror, offsets [a, b) are the document's [length - b, length - a), read from its end.
        offset = (ends - high) if self._backward else (low - origin)
        source = self._start[document] + offset
        step = -1 if self._backward else 1
        columns = (
            lane_of_row[row],
            self._shard[document],
            source,
            source + high - low,
            low - begin_of_row[row],
            high - begin_of_row[row],
        )
        for lane, shard, begin, end, left, right in zip(*(column.tolist() for column in columns), strict=True):
            rows[lane, left:right] = self._shards[shard][begin:end][::step]


def _philox(seed: int, epoch: int, site: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed % _WORD, (epoch * 4 + site) % _WORD], np.uint64))


def _jittered(words: np.ndarray, bptt: int) -> np.ndarray:
    """(n, 3) raw words to (n,) lengths: one uniform chooses the mean, two make a normal (Box-Muller)."""
    uniform = (words >> np.uint64(11)) * 2.0**-53
    mean = np.where(uniform[:, 0] < _FULL_LENGTH_SHARE, float(bptt), bptt / 2)
    normal = np.sqrt(-2.0 * np.log1p(-uniform[:, 1])) * np.cos(2.0 * np.pi * uniform[:, 2])
    lengths: np.ndarray = np.maximum(_SHORTEST_WINDOW, np.trunc(mean + _JITTER_SD * normal)).astype(np.int64)
    return lengths
