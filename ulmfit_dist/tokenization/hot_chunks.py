"""The codes of short chunks without a string for each: a hash table in numpy arrays, asked for a whole batch at once.

More than nine of ten chunks of a text have at most 15 bytes and were met before. Their bytes and their length fit in
two machine words, so that a look-up is some gathers and comparisons over the batch: 50 ns a chunk, where Arrow's
dictionary encoding and a Python dict of the distinct ones take 110. What is not found is left to those.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

_SLOT_BITS = 20  # 20 MB; a chunk whose slot is taken is never found here, and frequent chunks come first
_WORD = 8  # bytes
_LONGEST = 2 * _WORD - 1
_KEPT_FIRST = np.array([(1 << 8 * min(length, _WORD)) - 1 for length in range(_LONGEST + 1)], np.uint64)
_KEPT_SECOND = np.array([(1 << 8 * max(length - _WORD, 0)) - 1 for length in range(_LONGEST + 1)], np.uint64)
_LENGTH = np.array([length << 56 for length in range(_LONGEST + 1)], np.uint64)  # in the byte that no chunk fills
# Odd numbers without a pattern: the top bits of a product depend on all bits of a factor (Fibonacci hashing).
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)


class Keys(NamedTuple):
    """The short chunks of a batch: their places in it, their two words, their slots."""

    places: np.ndarray
    first: np.ndarray
    second: np.ndarray
    slots: np.ndarray


class HotChunks:
    """Codes of chunks of at most 15 bytes, a fixed number of slots, first come first served."""

    def __init__(self) -> None:
        slots = 1 << _SLOT_BITS
        self._first, self._second = np.zeros(slots, np.uint64), np.zeros(slots, np.uint64)
        self._codes = np.full(slots, -1, np.int32)

    def find(self, chunks: pa.LargeStringArray) -> tuple[np.ndarray, Keys]:
        """Return the code of each chunk, -1 where it is not known here, and the keys for `add`."""
        keys = _keys(chunks)
        found = self._codes.take(keys.slots)
        found[(self._first.take(keys.slots) != keys.first) | (self._second.take(keys.slots) != keys.second)] = -1
        if len(found) == len(chunks):
            return found, keys
        codes = np.full(len(chunks), -1, np.int32)
        codes[keys.places] = found
        return codes, keys

    def add(self, keys: Keys, places: np.ndarray, codes: np.ndarray) -> None:
        """Keep the codes of the chunks at some places (in order) of a batch, where their slots are free."""
        short = np.searchsorted(keys.places, places)
        short = short[np.append(keys.places, -1)[short] == places]
        short = short[self._codes[keys.slots[short]] < 0]
        # Of several chunks for one slot the last one is written, in all three arrays: numpy assigns in order.
        slots = keys.slots[short]
        self._first[slots], self._second[slots] = keys.first[short], keys.second[short]
        self._codes[slots] = codes[keys.places[short]]


def _keys(chunks: pa.LargeStringArray) -> Keys:
    _, offsets_buffer, data = chunks.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[chunks.offset : chunks.offset + len(chunks) + 1]
    # Only whole words are read: the last chunks of a batch may have to do without.
    words = np.frombuffer(data, np.uint64, len(data) // _WORD) if data else np.zeros(0, np.uint64)
    starts, lengths = offsets[:-1], np.diff(offsets)
    places = np.flatnonzero((lengths <= _LONGEST) & (starts < _WORD * (len(words) - 2)))
    starts, lengths = starts.take(places), lengths.take(places)
    aligned, shift = starts >> 3, ((starts & 7) << 3).astype(np.uint64)
    back = np.uint64(63) - shift  # in two steps, since a shift by 64 bits is not defined
    before, middle, after = words.take(aligned), words.take(aligned + 1), words.take(aligned + 2)
    first = (before >> shift | middle << np.uint64(1) << back) & _KEPT_FIRST.take(lengths)
    second = (middle >> shift | after << np.uint64(1) << back) & _KEPT_SECOND.take(lengths) | _LENGTH.take(lengths)
    slots = (first * _FACTORS[0] ^ second * _FACTORS[1]) >> np.uint64(64 - _SLOT_BITS)
    return Keys(places, first, second, slots.view(np.int64))
