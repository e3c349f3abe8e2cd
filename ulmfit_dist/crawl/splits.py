"""Which split a document falls in: a function of its words and the seed alone, never of its place or its neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

from ulmfit_dist.corpus.leakage import comparison_text
from ulmfit_dist.corpus.records import LABEL_SEPARATOR

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Mapping

TRAIN = "train"
_WORD = 2**64


def split_of(text: str, shares: Mapping[str, float], seed: int) -> str:
    """Return the split of a text, with probability `shares` (summing to 1) over texts.

    Texts of the same words fall together, so that no split made here leaks into another by an equal text.
    """
    words = comparison_text(text).encode("utf-8", "surrogatepass")
    point = xxhash.xxh3_64_intdigest(words, seed=seed % _WORD) / _WORD
    # By name: the order of a table's keys is not part of a recipe's meaning.
    ordered = sorted(shares.items())
    for name, share in ordered:
        point -= share
        if point < 0:
            return name
    return ordered[-1][0]


def label_problem(labels: Mapping[str, Counter[str]], official: Collection[str]) -> tuple[str, str, str] | None:
    """Return (what, found, do) for the first thing wrong with the labels of the splits, None when nothing is.

    Training needs two classes; no split may have a label that training lacks; a split made by hash must have every
    class. An official split (named by its source) may miss one: the test set of TREC-50 does. Of several label columns
    every combination would be a class here: what each needs is checked where it is learned (`finetune.labelled`).
    """
    if TRAIN not in labels:
        return None
    known = set(labels[TRAIN])
    if len(known) < 2:
        found = ", ".join(f"{count} documents of class {label!r}" for label, count in labels[TRAIN].items())
        return "the training split has one class only", found or "no document", "give documents of at least two classes"
    if any(LABEL_SEPARATOR in label for label in known):
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
