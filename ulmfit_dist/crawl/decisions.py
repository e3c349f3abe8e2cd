"""What needs all pieces at once: which record key came first, which text came first, and where row groups end.

Everything is decided by the sources' order, never by who was read first, from 38 bytes a document on disk. Memory: six
bytes a document, and the hashes of 16 million documents at a time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ulmfit_dist.crawl.candidates import read_receipt
from ulmfit_dist.crawl.piecefiles import HAS_WORDS, KEPT, read_candidates, read_quarantine, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ulmfit_dist.corpus.quarantine import Quarantine
    from ulmfit_dist.crawl.pieces import Piece

# What is decided of a document: as its piece said, dropped for its text, or set aside for its key.
AS_READ, DUPLICATE, KEY_TWICE = 0, 1, 2
# What became of a document in the end: one of fates.REASONS, and the number of its split.
FATES = np.dtype([("fate", "u1"), ("split", "u1")])
_BUCKET_ROWS = 1 << 24


@dataclass(frozen=True)
class Run:
    """Consecutive rows of one split of one piece, counted within that split of that piece."""

    piece: int
    start: int
    stop: int


@dataclass(frozen=True)
class Part:
    """A part file to write: for each of its row groups the rows in order, those set aside by their key included."""

    index: int
    split: str
    number: int
    groups: tuple[tuple[Run, ...], ...]
    size: int


def decide(folder: Path, pieces: Sequence[Piece], drops: Sequence[bool]) -> list[np.ndarray]:
    """Return AS_READ, DUPLICATE or KEY_TWICE for each document of each piece, uint8.

    drops: of each source, whether it drops a text that was kept before in its split. The first document of a record key
    stands, the later ones are set aside; then the first text that is kept stands.
    """
    states = [np.array(read_rows(folder, piece.index)["state"]) for piece in pieces]
    numbers = [piece.index for piece in pieces]
    lengths = [len(piece) for piece in states]
    decided = np.full(sum(lengths), AS_READ, np.uint8)
    buckets = 1 + len(decided) // _BUCKET_ROWS
    for bucket in range(buckets):
        index, ids = _bucket(folder, numbers, "id", (bucket, buckets))
        order, new = _groups(ids)
        decided[index[order[~new]]] = KEY_TWICE
    state = np.concatenate([np.empty(0, np.uint8), *states])
    source = np.repeat([piece.source for piece in pieces], lengths).astype(np.int32)
    for bucket in range(buckets):
        index, keys = _bucket(folder, numbers, "key", (bucket, buckets))
        able = (state[index] & HAS_WORDS != 0) & (decided[index] != KEY_TWICE)
        if not able.any():
            continue
        order, new = _groups(keys[able])
        index = index[able][order]
        kept = np.where(state[index] & KEPT != 0, index, len(decided))
        first_kept = np.minimum.reduceat(kept, np.flatnonzero(new))[np.cumsum(new) - 1]
        decided[index[np.array(drops)[source[index]] & (index > first_kept)]] = DUPLICATE
    return np.split(decided, np.cumsum(lengths)[:-1])


def plan_parts(
    folder: Path, fates: Sequence[np.ndarray], splits: Sequence[str], limits: tuple[int, int, int]
) -> list[Part]:
    """Cut the documents of each split into row groups and parts, over the borders of pieces.

    fates: of each piece, dtype FATES. limits: a row group closes once it holds the first number of code points or the
    second of documents; a part holds the third of row groups.
    """
    max_characters, max_rows, max_groups = limits
    parts: list[Part] = []
    for number, split in enumerate(splits):
        cutter = _Cutter(max_characters, max_rows)
        for piece, fate in enumerate(fates):
            mine = fate["split"] == number
            cutter.add(piece, read_rows(folder, piece)["characters"][mine], fate["fate"][mine] != KEY_TWICE)
        groups = cutter.finish()
        for start in range(0, len(groups), max_groups):
            some = groups[start : start + max_groups]
            size = sum(characters for _, characters in some)
            parts.append(Part(len(parts), split, start // max_groups, tuple(runs for runs, _ in some), size))
    return parts


def set_aside_twice(folder: Path, piece: Piece, decided: np.ndarray, quarantine: Quarantine) -> None:
    """Copy a piece's quarantine, with the documents whose key was used before, in the order of the records.

    decided: what `decide` said of each document of the piece.
    """
    records = read_quarantine(folder, piece.index)
    twice = _twice(folder, piece, decided) if (decided == KEY_TWICE).any() else iter(())
    for row, (source, text) in twice:
        while records and records[0]["after"] <= row:
            _copy(records.popleft(), quarantine)
        quarantine.add(piece.name, source.removeprefix(f"{piece.name}#"), "record key used twice", text)
    while records:
        _copy(records.popleft(), quarantine)
    receipt = read_receipt(folder, piece)
    assert receipt is not None, "every piece is read, or written as lost"
    quarantine.lose(piece.name, receipt.lost_bytes)


def _twice(folder: Path, piece: Piece, decided: np.ndarray) -> Iterator[tuple[int, tuple[str, str]]]:
    """The documents with the key of another: (row, (source, start of the text)), in order."""
    row = 0
    for batch in read_candidates(folder, piece.index, slice(0, sys.maxsize)):
        for place in np.flatnonzero(decided[row : row + batch.num_rows] == KEY_TWICE).tolist():
            yield row + place, (batch.column("source")[place].as_py(), batch.column("text")[place].as_py())
        row += batch.num_rows


def _copy(record: dict[str, Any], quarantine: Quarantine) -> None:
    quarantine.add(record["source"], record["position"], record["reason"], record["sample"])


class _Cutter:
    """Closes row groups over the documents of one split, as `corpus.documents.write_documents` would."""

    def __init__(self, max_characters: int, max_rows: int) -> None:
        self._limits = max_characters, max_rows
        self._groups: list[tuple[tuple[Run, ...], int]] = []
        self._runs: list[Run] = []
        self._characters = self._rows = 0

    def add(self, piece: int, characters: np.ndarray, there: np.ndarray) -> None:
        """Add the rows of a piece; those not `there` have no row in the folder."""
        ends = np.cumsum(np.where(there, characters, 0), dtype=np.int64)
        counts = np.cumsum(there, dtype=np.int64)
        start, before, rows_before = 0, 0, 0
        while start < len(ends):
            max_characters, max_rows = self._limits
            stop = 1 + min(
                int(np.searchsorted(ends, before + max_characters - self._characters)),
                int(np.searchsorted(counts, rows_before + max_rows - self._rows)),
            )
            closes, stop = stop <= len(ends), min(stop, len(ends))
            self._runs.append(Run(piece, start, stop))
            self._characters += int(ends[stop - 1]) - before
            self._rows += int(counts[stop - 1]) - rows_before
            start, before, rows_before = stop, int(ends[stop - 1]), int(counts[stop - 1])
            if closes:
                self._close()

    def finish(self) -> list[tuple[tuple[Run, ...], int]]:
        """Close the last group; return the runs and the code points of each."""
        self._close()
        return self._groups

    def _close(self) -> None:
        if self._rows:
            self._groups.append((tuple(self._runs), self._characters))
        self._runs, self._characters, self._rows = [], 0, 0


def _bucket(folder: Path, pieces: Sequence[int], name: str, bucket: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The places (over all pieces, ascending) and the hashes (n, 2) of the rows in one of so many buckets of hashes."""
    places, hashes, first = [np.empty(0, np.int64)], [np.empty((0, 2), np.uint64)], 0
    for piece in pieces:
        rows = read_rows(folder, piece)
        mine = np.flatnonzero(rows[name][:, 0] % np.uint64(bucket[1]) == bucket[0])
        places.append(mine + first)
        hashes.append(rows[name][mine])
        first += len(rows)
    return np.concatenate(places), np.concatenate(hashes)


def _groups(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order that puts equal hashes together, earlier rows first, and where each group begins in it."""
    order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    ordered = hashes[order]
    new = np.ones(len(order), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, new
