"""Near-duplicates over all pieces: the bands of all signatures are shuffled on disk, and what meets is one cluster.

Three steps: the workers that clean leave the band keys of their documents, band by band (`save_bands`); each band, or a
bucket of it, is gone through alone, by any worker, for the pairs that meet in it (`make_pair_writer`); the driver joins
the pairs (`join`). No process holds more than one bucket's keys, or four bytes a document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ulmfit_dist.crawl.minhash import NUM_BANDS, ROWS_PER_BAND, band_keys
from ulmfit_dist.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

# Keys of a bucket: with their numbers and their order 24 bytes each, 200 MB.
BUCKET_KEYS = 1 << 23
_PAIR = np.dtype([("first", "<u4"), ("other", "<u4")])
_PAIRS_AT_ONCE = 1 << 21
_PAIRS_COMPARED = 1 << 16
_HASHES = NUM_BANDS * ROWS_PER_BAND
_NO_TAILS = np.empty((0, _HASHES), np.uint8)


@dataclass(frozen=True)
class BandItem:
    """A band's keys of one bucket: those whose remainder by `buckets` is `bucket`."""

    index: int
    band: int
    bucket: int
    buckets: int
    size: int


def save_bands(path: Path, signatures: Sequence[np.ndarray], groups: Sequence[int]) -> None:
    """Write the signatures of a piece's compared documents: keys band after band, then a byte of each minimum.

    groups: documents are compared within one. A band's keys lie together, so that a band is read alone.
    """
    keys = np.array([band_keys(*pair) for pair in zip(signatures, groups, strict=True)], "<u8").reshape(-1, NUM_BANDS)
    tails = np.array([lowest.astype(np.uint8) for lowest in signatures], np.uint8)
    write_bytes(path, np.ascontiguousarray(keys.T).tobytes() + tails.tobytes())


def band_items(paths: Sequence[Path]) -> list[BandItem]:
    """Return what is to be done for the documents whose keys lie in the files, in the pieces' order."""
    total = sum(_count(path) for path in paths)
    if total < 2:
        return []
    buckets = 1 + total // BUCKET_KEYS
    size = total * 8 // buckets
    return [BandItem(index, *divmod(index, buckets), buckets, size) for index in range(NUM_BANDS * buckets)]


def make_pair_writer(paths: Sequence[Path], folder: Path, similarity: float) -> Callable[[BandItem], None]:
    """Return the function that finds the pairs of an item and writes them to `folder`.

    A pair is the first document with a key, and another whose estimated Jaccard similarity with it is at least
    `similarity`; documents are numbered over all files.
    """

    def write(item: BandItem) -> None:
        numbers, keys = _bucket(paths, item)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        new = np.ones(len(keys), bool)
        new[1:] = keys[1:] != keys[:-1]
        again = ~new
        firsts = order[np.flatnonzero(new)[np.cumsum(new)[again] - 1]]
        pairs = np.empty(len(firsts), _PAIR)
        pairs["first"], pairs["other"] = numbers[firsts], numbers[order[again]]
        # By number, so that the signatures are read from one end to the other.
        pairs = np.sort(pairs)
        alike = _Tails(paths).alike
        kept = [block[alike(block) >= similarity] for block in _blocks(pairs, _PAIRS_COMPARED)]
        write_bytes(pairs_path(folder, item), b"".join(block.tobytes() for block in kept))

    return write


def pairs_path(folder: Path, item: BandItem) -> Path:
    """Where the pairs of an item are."""
    return folder / f"{item.band:02d}-{item.bucket:05d}.pairs"


def join(total: int, files: Iterable[Path]) -> np.ndarray:
    """Return for each of `total` documents the lowest number in its cluster, uint32 (union-find over the pairs)."""
    parents = np.arange(total, dtype=np.uint32)
    for file in files:
        if file.stat().st_size:
            for some in _blocks(np.memmap(file, _PAIR, "r"), _PAIRS_AT_ONCE):
                _unite(parents, np.array(some["first"]), np.array(some["other"]))
    for start in range(0, total, _PAIRS_AT_ONCE):
        stop = min(total, start + _PAIRS_AT_ONCE)
        parents[start:stop] = _roots(parents, np.arange(start, stop, dtype=np.uint32))
    return parents


class _Tails:
    """The lowest byte of every minimum of every document, mapped: two signatures agree by chance in 1 of 256."""

    def __init__(self, paths: Sequence[Path]) -> None:
        counts = [_count(path) for path in paths]
        self._starts = np.cumsum([0, *counts])
        self._files = [
            np.memmap(path, np.uint8, "r", 8 * NUM_BANDS * count, (count, _HASHES)) if count else _NO_TAILS
            for path, count in zip(paths, counts, strict=True)
        ]

    def alike(self, pairs: np.ndarray) -> np.ndarray:
        """Return the share of equal minima of each pair, float64."""
        equal: np.ndarray = self._of(pairs["first"]) == self._of(pairs["other"])
        return np.asarray(equal.mean(axis=1))

    def _of(self, numbers: np.ndarray) -> np.ndarray:
        out = np.empty((len(numbers), _HASHES), np.uint8)
        files = np.searchsorted(self._starts, numbers, side="right") - 1
        for file in np.unique(files):
            mine = files == file
            out[mine] = self._files[file][numbers[mine] - self._starts[file]]
        return out


def _blocks(pairs: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]


def _bucket(paths: Sequence[Path], item: BandItem) -> tuple[np.ndarray, np.ndarray]:
    numbers, keys, first = [np.empty(0, np.uint32)], [np.empty(0, np.uint64)], 0
    for path in paths:
        count = _count(path)
        if not count:
            continue
        band = np.fromfile(path, "<u8", count, offset=item.band * count * 8)
        # The lowest bits tell the buckets apart; the keys are mixed through.
        mine = np.flatnonzero(band % np.uint64(item.buckets) == item.bucket)
        numbers.append((mine + first).astype(np.uint32))
        keys.append(band[mine])
        first += count
    return np.concatenate(numbers), np.concatenate(keys)


def _unite(parents: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
    while True:
        one, other = _roots(parents, one), _roots(parents, other)
        apart = one != other
        if not apart.any():
            return
        one, other = one[apart], other[apart]
        # A root only ever gets a lower parent, so that no circle can close, whatever is joined at once.
        np.minimum.at(parents, np.maximum(one, other), np.minimum(one, other))


def _roots(parents: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    roots = np.asarray(parents[numbers])
    while True:
        above = np.asarray(parents[roots])
        if (above == roots).all():
            parents[numbers] = roots
            return roots
        roots = above


def _count(path: Path) -> int:
    return path.stat().st_size // (8 * NUM_BANDS + _HASHES)
