"""Fates: what becomes of every document once all pieces are cleaned and compared, and in which split it lies.

Near-duplicates, then what a site asks for, then the quality rules: the first that drops a document is its reason. All
of it is decided from numbers beside the documents, so that other thresholds read no text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ulmfit_dist.crawl.decisions import AS_READ, FATES, KEY_TWICE
from ulmfit_dist.crawl.piecefiles import COMPARED, KEPT, LATER, NOAI, NOINDEX, piece_path, read_facts, read_rows
from ulmfit_dist.crawl.rules import RULES, judge
from ulmfit_dist.crawl.splits import split_numbers
from ulmfit_dist.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ulmfit_dist.crawl.settings import IngestSettings

NEAR_DUPLICATE, ASKS_NOAI, ASKS_NOINDEX, FIRST_RULE = 3, 4, 5, 6
REASONS = ("", "duplicate", "", "near_duplicate", "noai", "noindex", *RULES)
# A document in a cluster of several: its row in its piece, the id of the one that is kept, and their number.
CLUSTERED = np.dtype([("row", "<u4"), ("id", "<u8", 2), ("size", "<u4")])


@dataclass(frozen=True)
class Clusters:
    """Of each piece the documents in clusters (CLUSTERED), which of them are not kept for it, and the places they take.

    `dropped`: row numbers; `places`: of the kept one's site, beside `members`.
    """

    members: list[np.ndarray]
    dropped: list[np.ndarray]
    places: list[np.ndarray]


def find_clusters(folder: Path, decided: Sequence[np.ndarray], labels: np.ndarray) -> Clusters:
    """Return the clusters of documents whose label (`neardup.join`, in the order of the bands) is the same.

    The longest document is kept, of several the one with the smallest id; never one dropped before. What was set aside
    for its key is in none.
    """
    states = [np.array(read_rows(folder, piece)["state"]) for piece in range(len(decided))]
    rows = [np.flatnonzero(state & COMPARED).astype(np.uint32) for state in states]
    pieces = np.repeat(np.arange(len(rows), dtype=np.uint32), [len(some) for some in rows])
    row = np.concatenate([np.empty(0, np.uint32), *rows])
    fate = np.concatenate([np.empty(0, np.uint8), *(some[r] for some, r in zip(decided, rows, strict=True))])
    there = fate != KEY_TWICE
    sizes = np.bincount(labels[there], minlength=len(labels)).astype(np.uint32)
    mine = np.flatnonzero(there & (sizes[labels] > 1))
    piece, row, label, free = pieces[mine], row[mine], labels[mine], fate[mine] == AS_READ
    ids, characters, places = _known(folder, piece, row, len(rows))
    shown = ids.byteswap()  # as their hexadecimal digits sort
    order = np.lexsort((shown[:, 1], shown[:, 0], -characters, ~free, label))
    first = np.ones(len(order), bool)
    first[1:] = label[order[1:]] != label[order[:-1]]
    best = np.empty(len(order), np.int64)
    best[order] = order[np.flatnonzero(first)[np.cumsum(first) - 1]] if len(order) else order
    members = np.empty(len(order), CLUSTERED)
    members["row"], members["id"], members["size"] = row, ids[best], sizes[label]
    falls = free & (best != np.arange(len(best)))
    of = [piece == number for number in range(len(rows))]
    return Clusters(
        [members[some] for some in of], [row[some & falls] for some in of], [places[best[some]] for some in of]
    )


def settle(
    folder: Path, decided: Sequence[np.ndarray], clusters: Clusters, settings: IngestSettings, splits: Sequence[str]
) -> list[np.ndarray]:
    """Return the fate and split of each document of each piece, dtype FATES; see REASONS."""
    out = []
    for piece, some in enumerate(decided):
        rows, facts = read_rows(folder, piece), read_facts(folder, piece)
        fates = np.empty(len(some), FATES)
        fates["fate"], fates["split"] = some, rows["split"]
        if facts is not None:
            fates["fate"][clusters.dropped[piece]] = NEAR_DUPLICATE
            _judge(fates["fate"], rows["state"], facts, settings)
            places = np.array(facts["place"])
            places[clusters.members[piece]["row"]] = clusters.places[piece]
            later = rows["split"] == LATER
            fates["split"][later] = split_numbers(places[later], settings.splits, settings.rotation, splits)
        out.append(fates)
    return out


def language_counts(folder: Path, fates: Sequence[np.ndarray]) -> dict[str, Counter[str]]:
    """Return {language: {reason: documents}} of the cleaned documents that were kept when they were cleaned."""
    out: dict[str, Counter[str]] = {}
    for piece, some in enumerate(fates):
        facts = read_facts(folder, piece)
        if facts is None:
            continue
        able = (read_rows(folder, piece)["state"] & KEPT != 0) & (some["fate"] != KEY_TWICE)
        languages, fate = facts["lang"][able], some["fate"][able]
        for language in np.unique(languages):
            counts = np.bincount(fate[languages == language], minlength=len(REASONS))
            named = {REASONS[number]: int(counts[number]) for number in np.flatnonzero(counts)}
            out.setdefault(language.decode(), Counter()).update(named)
    return out


def save_fates(folder: Path, piece: int, fates: np.ndarray, members: np.ndarray) -> None:
    """Leave the fates of a piece, and its documents in clusters, where those who write parts find them."""
    write_bytes(piece_path(folder, piece, ".clusters"), members.tobytes())
    write_bytes(piece_path(folder, piece, ".fates"), fates.tobytes())


def read_fates(folder: Path, piece: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the fates of a piece (dtype FATES), and its documents in clusters (dtype CLUSTERED)."""
    fates, members = (piece_path(folder, piece, suffix) for suffix in (".fates", ".clusters"))
    return np.fromfile(fates, FATES), np.fromfile(members, CLUSTERED)


def _judge(fate: np.ndarray, state: np.ndarray, facts: np.ndarray, settings: IngestSettings) -> None:
    crawl = settings.crawl
    asks = {"ignore": 0, "noai": NOAI, "noindex": NOAI | NOINDEX}[crawl.robots]
    for signs, what in ((NOAI, ASKS_NOAI), (NOINDEX, ASKS_NOINDEX)):
        fate[(fate == AS_READ) & (state & KEPT != 0) & (state & signs & asks != 0)] = what
    if crawl.quality:
        open_ = np.flatnonzero((fate == AS_READ) & (state & KEPT != 0))
        broken = judge(facts["measures"][open_], facts["lang"][open_], crawl.thresholds)
        fate[open_[broken > 0]] = broken[broken > 0] + (FIRST_RULE - 1)


def _known(folder: Path, piece: np.ndarray, row: np.ndarray, pieces: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ids, lengths and places of documents named by piece and row."""
    ids, characters = np.empty((len(row), 2), np.uint64), np.empty(len(row), np.int64)
    places = np.empty(len(row), np.uint64)
    for number in range(pieces):
        mine = piece == number
        if mine.any():
            rows, facts = read_rows(folder, number), read_facts(folder, number)
            assert facts is not None, "only what is cleaned is compared"
            ids[mine], characters[mine] = rows["id"][row[mine]], rows["characters"][row[mine]]
            places[mine] = facts["place"][row[mine]]
    return ids, characters, places
