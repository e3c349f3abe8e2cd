"""Lanes: what the trainer reads, and in which order. Pure functions of (seed, epoch, step, lane) and the stream.

D is the documents in the epoch's order, concatenated: N tokens. Lane b of B covers the targets
1 + floor(b (N-1) / B) ... floor((b+1) (N-1) / B); its inputs are one earlier. So every token but the first is a target
exactly once an epoch, lanes differ by at most one token, and a lane's text goes on from window to window. Positions in
a lane count its targets from 0. Nothing depends on the number of ranks: a rank asks for its range of lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from ulmfit_dist.corpus.stream import TokenStream

Direction = Literal["forward", "backward"]
N = TypeVar("N", int, np.ndarray)

# AWD-LSTM's main.py: one window in twenty at half the length, a normal jitter of 5 tokens, never under 5.
_FULL_LENGTH_SHARE = 0.95
_JITTER_SD = 5.0
_SHORTEST_WINDOW = 5
# A block holds 91 windows of 70, which share what it costs to find the documents; of 64 lanes it takes 0.8 MB. No power
# of two: with rows 4,096 bytes apart, turning them to time first takes six times as long.
_BLOCK_STEPS = 6400
_PART = 1 << 20
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
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)


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


class _Block(NamedTuple):
    """What the windows of some lanes are cut from, from step `start` on.

    `tokens` (S + 1, B) in the stream's own type: inputs and, one later, targets; `valid` (S, B) bool.
    """

    start: int
    lanes: range
    tokens: np.ndarray
    valid: np.ndarray

    def holds(self, start: int, length: int, lanes: range) -> bool:
        """Whether the window can be cut from this block."""
        return lanes == self.lanes and self.start <= start and start + length <= self.start + len(self.valid)


class LaneReader:
    """Reads windows of an epoch: `order` names the documents, `num_lanes` is of the whole (global) batch.

    forward reads D; backward reads the mirror of each document (`reverse_document`), documents in the same order.
    Keeps one number a document beside `order`, and the block of steps that the last window lay in: a window that goes
    on from the one before costs a tenth of what it does alone (25 against 250 us for 64 x 70), and is the same.
    """

    def __init__(self, stream: TokenStream, order: np.ndarray, num_lanes: int, direction: Direction) -> None:
        if num_lanes < 1:
            msg = f"num_lanes must be at least 1, got {num_lanes}"
            raise ValueError(msg)
        self._backward = direction == "backward"
        self._stream, self._order = stream, order
        self._ends = _ends(stream.document_starts, order)
        self._block = _Block(0, range(0), np.zeros((1, 0), np.uint16), np.zeros((0, 0), np.bool_))
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
        block = self._block
        if not block.holds(start, length, lanes):
            ahead = min(_BLOCK_STEPS, self.max_lane_length - start) if block.holds(start, 0, lanes) else 0
            block = self._block = self._read(start, max(length, ahead), lanes)
        first = start - block.start
        last = first + length
        inputs, targets = block.tokens[first:last].astype(np.int64), block.tokens[first + 1 : last + 1].astype(np.int64)
        valid = block.valid[first:last]
        if start + length > self.num_targets // self.num_lanes:
            inputs[~valid] = self._stream.pad_id  # the last target of a lane is no input of it
        return Window(inputs, targets, valid)

    def _lane_start(self, lane: N) -> N:
        return lane * self.num_targets // self.num_lanes

    def _read(self, start: int, steps: int, lanes: range) -> _Block:
        """Read positions start ... start + steps of the lanes' inputs; the pad id past the end of a lane."""
        numbers = np.array(lanes, np.int64)
        first = self._lane_start(numbers) + start
        targets = np.clip(self._lane_start(numbers + 1) - first, 0, steps)
        # One token more than targets: the inputs of a window and, one later, its targets.
        counts = np.where(targets > 0, targets + 1, 0)
        used = np.flatnonzero(counts)
        tokens = self._tokens(first[used], (first + counts)[used])
        if len(tokens) == len(lanes) * (steps + 1):
            rows = tokens.reshape(len(lanes), steps + 1)
            valid = np.ones((steps, len(lanes)), np.bool_)
        else:
            rows = np.full((len(lanes), steps + 1), self._stream.pad_id, tokens.dtype)
            rows[np.arange(steps + 1) < counts[:, None]] = tokens
            valid = np.arange(steps)[:, None] < targets
        return _Block(start, lanes, np.ascontiguousarray(rows.T), valid)

    def _tokens(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """D[begin[r] : end[r]] of each range r, one after the other."""
        if not len(begin):
            return np.zeros(0, np.int64)
        pieces = self._pieces(begin, end)
        # Each document mirrored is the mirror of all of them, last one first: one turn instead of one for each.
        return np.concatenate(pieces[::-1])[::-1] if self._backward else np.concatenate(pieces)

    def _pieces(self, begin: np.ndarray, end: np.ndarray) -> list[np.ndarray]:
        """Views of the shards that are D[begin[r] : end[r]], range after range; a backward one still to be mirrored."""
        stream = self._stream
        first = np.searchsorted(self._ends, begin, "right")
        touched = np.searchsorted(self._ends, end - 1, "right") - first + 1
        row = np.repeat(np.arange(len(begin)), touched)
        place = first[row] + np.arange(len(row)) - (np.cumsum(touched) - touched)[row]
        document, document_end = self._order[place], self._ends[place]
        source = stream.document_starts[document]
        document_begin = document_end - (stream.document_starts[document + 1] - source)
        low = np.maximum(begin[row], document_begin)
        high = np.minimum(end[row], document_end)
        # Of the mirror, offsets [a, b) are the document's [length - b, length - a), read from its end.
        source += (document_end - high) if self._backward else (low - document_begin)
        stop = source + (high - low)
        shard = np.searchsorted(stream.shard_starts, source, "right") - 1
        if not self._backward:
            # Documents that lie one after the other, as in file order, are one piece.
            parted = (source[1:] != stop[:-1]) | (shard[1:] != shard[:-1]) | (row[1:] != row[:-1])
            tails = np.append(np.flatnonzero(parted), len(row) - 1)
            source, stop, shard = source[np.append(0, tails[:-1] + 1)], stop[tails], shard[tails]
        origin = stream.shard_starts[shard]
        columns = (shard.tolist(), (source - origin).tolist(), (stop - origin).tolist())
        return [stream.shard_tokens[number][low:high] for number, low, high in zip(*columns, strict=True)]


def _ends(document_starts: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(n,) int64: where each document of the order ends in D; by parts, so that no other array is as long."""
    ends = np.empty(len(order), np.int64)
    for low in range(0, len(order), _PART):
        part = order[low : low + _PART]
        # np.take: half the time of an index in brackets, 0.15 s at 4 million documents.
        np.subtract(np.take(document_starts, part + 1), np.take(document_starts, part), out=ends[low : low + _PART])
    return np.cumsum(ends, out=ends)


def _philox(seed: int, epoch: int, site: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed % _WORD, (epoch * 4 + site) % _WORD], np.uint64))


def _jittered(words: np.ndarray, bptt: int) -> np.ndarray:
    """(n, 3) raw words to (n,) lengths: one uniform chooses the mean, two make a normal (Box-Muller)."""
    uniform = (words >> np.uint64(11)) * 2.0**-53
    mean = np.where(uniform[:, 0] < _FULL_LENGTH_SHARE, float(bptt), bptt / 2)
    normal = np.sqrt(-2.0 * np.log1p(-uniform[:, 1])) * np.cos(2.0 * np.pi * uniform[:, 2])
    lengths: np.ndarray = np.maximum(_SHORTEST_WINDOW, np.trunc(mean + _JITTER_SD * normal)).astype(np.int64)
    return lengths
