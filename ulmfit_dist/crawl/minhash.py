"""MinHash: how alike two texts are, from a few numbers of each (Broder 1997), cut into bands that are equal or not.

112 hashes of the 5-grams of words, in 14 bands of 8: texts of Jaccard similarity s share a band with probability
1 - (1 - s^8)^14, that is .36 at .6, .92 at .8, .99 at .85. All is a function of the text alone, on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash

from ulmfit_dist.corpus.leakage import comparison_text
from ulmfit_dist.crawl.scripts import code_points, is_unspaced

NUM_BANDS, ROWS_PER_BAND, GRAM = 14, 8, 5
# Shingles at a time: bounds memory; 8,000 signatures of 930 words a second and core, the same from 256 to 4096.
_BLOCK = 1024
# An odd number: what is hashed so far times it, plus the next, is another number for another order.
COMBINE = np.uint64(0x9E3779B97F4A7C15)


def mix(values: np.ndarray) -> np.ndarray:
    """Return 64-bit values with every input bit spread over all bits, one to one (the end of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))


_SEEDS = mix(np.arange(1, 2 * NUM_BANDS * ROWS_PER_BAND + 1, dtype=np.uint64) * COMBINE)
_FACTORS, _OFFSETS = (part[:, None] for part in np.split(_SEEDS, 2))
_FACTORS = _FACTORS | np.uint64(1)
_BAND_NUMBERS = mix(np.arange(1, NUM_BANDS + 1, dtype=np.uint64))


@dataclass(frozen=True)
class Units:
    """A text as what is compared: the hash (uint64) and length (int64) of each word, or of each character.

    Case, punctuation and symbols do not count. `unspaced`: a unit is a character. `whole` is the hash of all of it.
    """

    hashes: np.ndarray
    lengths: np.ndarray
    unspaced: bool
    whole: int


def units_of(text: str) -> Units:
    """Return a text's words, or its characters where it is mostly in scripts that put no spaces between words."""
    compared = comparison_text(text)
    data = compared.encode("utf-8", "surrogatepass")
    whole = xxhash.xxh3_64_intdigest(data)
    if is_unspaced(compared):
        points = code_points(compared.replace(" ", "")).astype(np.uint64)
        return Units(mix(points), np.ones(len(points), np.int64), unspaced=True, whole=whole)
    hashes = np.fromiter(map(xxhash.xxh3_64_intdigest, data.split()), np.uint64)
    lengths = np.fromiter(map(len, compared.split()), np.int64)
    return Units(hashes, lengths, unspaced=False, whole=whole)


def grams_of(hashes: np.ndarray, size: int) -> np.ndarray:
    """Return the hash of every run of `size` units, in order, uint64."""
    count = max(0, len(hashes) - size + 1)
    grams = hashes[:count].copy()
    for place in range(1, size):
        grams *= COMBINE
        grams += hashes[place : place + count]
    return mix(grams)


def shingles(units: Units) -> np.ndarray:
    """Return the hashes of a text's 5-grams; a text of under five units is one shingle, the whole of it."""
    if len(units.hashes) < GRAM:
        return np.array([units.whole], np.uint64)
    return grams_of(units.hashes, GRAM)


def signature(grams: np.ndarray) -> np.ndarray:
    """Return the 112 minima, uint64; the share of equal ones estimates the Jaccard similarity of two texts' 5-grams."""
    lowest = np.full(len(_FACTORS), np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(grams), _BLOCK):
        hashed = _FACTORS * grams[start : start + _BLOCK]
        hashed += _OFFSETS
        np.minimum(lowest, hashed.min(axis=1), out=lowest)
    return lowest


def band_keys(lowest: np.ndarray, group: int) -> np.ndarray:
    """Return a key for each of the 14 bands, uint64: equal where all eight hashes, the band and the group are."""
    rows = mix(lowest).reshape(NUM_BANDS, ROWS_PER_BAND)
    keys: np.ndarray = _BAND_NUMBERS ^ mix(np.array([group], np.uint64))
    for place in range(ROWS_PER_BAND):
        keys = mix(keys * COMBINE + rows[:, place])
    return keys
