"""Which split a document falls in: a function of its words and the seed alone, never of its place or its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xxhash

from ulmfit_dist.corpus.leakage import comparison_text
from ulmfit_dist.corpus.records import LABEL_SEPARATOR

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Mapping, Sequence

TRAIN, TEST = "train", "test"
_WORD = 2**64


def split_of(text: str, shares: Mapping[str, float], seed: int, rotation: float = 0.0) -> str:
    """Return the split of a text, with probability `shares` (summing to 1) over texts.

    Texts of the same words fall together, so that no split made here leaks into another by an equal text. The splits
    lie side by side on a circle of texts, by name; `rotation` turns them by a share of it, so that with a test share of
    1/n the rotations 0/n, 1/n, ... test every text once.
    """
    return split_at(place_of(comparison_text(text), seed), shares, rotation)


def place_of(words: str, seed: int) -> int:
    """Return where words lie on the circle of all, 64 bits: those of a text, or the name of a site."""
    return int(xxhash.xxh3_64_intdigest(words.encode("utf-8", "surrogatepass"), seed=seed % _WORD))


def split_at(place: int, shares: Mapping[str, float], rotation: float = 0.0) -> str:
    """Return the split of a place on the circle (`split_of`)."""
    point = (place - int(rotation * _WORD)) % _WORD / _WORD
    # By name: the order of a table's keys is not part of a recipe's meaning.
    ordered = sorted(shares.items())
    for name, share in ordered:
        point -= share
        if point < 0:
            return name
    return ordered[-1][0]


def split_numbers(places: np.ndarray, shares: Mapping[str, float], rotation: float, names: Sequence[str]) -> np.ndarray:
    """Return the place in `names` of the split of each place on the circle (uint64), uint8: `split_at` of many."""
    points = (places - np.uint64(int(rotation * _WORD))).astype(np.float64) / _WORD
    ordered = sorted(shares.items())
    numbers = np.full(len(places), names.index(ordered[-1][0]) if len(places) else 0, np.uint8)
    open_ = np.ones(len(places), bool)
    for name, share in ordered:
        points -= share
        here = open_ & (points < 0)
        numbers[here] = names.index(name) if here.any() else 0
        open_ &= ~here
    return numbers


def label_problem(
    labels: Mapping[str, Counter[str]], official: Collection[str], *, classes: bool = True
) -> tuple[str, str, str] | None:
    """Return (what, found, do) for the first thing wrong with the labels of the splits, None when nothing is.

    Training needs two classes; no split may have a label that training lacks; a split made by hash must have every
    class. An official split (named by its source) may miss one: the test set of TREC-50 does. Values are no `classes`,
    and of several labels every combination would be one: what those need is checked where they are learned
    (`finetune.labelled`).
    """
    if TRAIN not in labels:
        return None
    known = set(labels[TRAIN])
    if len(known) < 2:
        found = ", ".join(f"{count} documents of class {label!r}" for label, count in labels[TRAIN].items())
        return "the training split has one class only", found or "no document", "give documents of at least two classes"
    if not classes or any(LABEL_SEPARATOR in label for label in known):
        return None
    for split, counts in sorted(labels.items()):
        unseen = sorted(set(counts) - known)
        if unseen:
            found = f"{_names(unseen)}; training has {_names(sorted(known))}"
            return (
                f"split {split!r} has labels unseen in training",
                found,
                "correct the labels or add training documents",
            )
        missing = sorted(known - set(counts))
        if missing and split not in official:
            do = "give more documents of it, a larger share for the split, or another seed"
            return f"split {split!r} misses a class", f"no document of {_names(missing)}", do
    return None


def _names(labels: list[str]) -> str:
    shown = ", ".join(map(repr, labels[:8]))
    return f"{shown} and {len(labels) - 8} more" if len(labels) > 8 else shown
