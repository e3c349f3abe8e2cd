"""Quality of a text in numbers, the rules of Gopher (Rae 2021) and FineWeb (Penedo 2024) without their thresholds.

What is measured is kept beside the documents, so that other thresholds (rules.py) measure nothing again. Where scripts
put no spaces between words a character counts as a word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ulmfit_dist.crawl.minhash import COMBINE, Units

if TYPE_CHECKING:
    from collections.abc import Sequence

# Sentences end so in the scripts of the world; closing quotes and brackets may follow.
TERMINALS = frozenset(".!?…‥:;。！？：；．｡؟۔؛।॥።፧፨။၊།༎៖។៕჻։᠃᠉꓿")
_CLOSING = "\"'”’»›)]}」』）】》〉 "
_BULLETS = ("•", "‣", "◦", "●", "○", "▪", "■", "·", "- ", "* ", "– ", "— ")
_ELLIPSES = ("...", "…", "‥")
# From a word's first letter to its end: as many as there are words with a letter.
_LETTER_WORD = re.compile(r"[^\W\d_]\S*")
SHORT_LINE = 30
TOP_GRAMS = (2, 3, 4)
DUPLICATE_GRAMS = (5, 6, 7, 8, 9, 10)
MEASURES = (
    "words",
    "mean_word_length",
    "symbol_words",
    "bullet_lines",
    "ellipsis_lines",
    "letter_words",
    "stop_words",
    "symbols",
    "duplicate_lines",
    "duplicate_line_characters",
    "duplicate_paragraphs",
    "duplicate_paragraph_characters",
    *(f"top_{size}gram" for size in TOP_GRAMS),
    *(f"duplicate_{size}grams" for size in DUPLICATE_GRAMS),
    "terminal_lines",
    "short_lines",
    "lines_per_word",
    "unspaced",
)
NUM_MEASURES = len(MEASURES)


def measure(text: str, units: Units, stop_words: np.ndarray) -> np.ndarray:
    """Return what MEASURES names, float32; NaN for what the text's script or a missing list does not let us measure.

    stop_words: hashes (uint64), as in Units, of the most frequent words of the text's language; none: not measured.
    """
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    if not len(units.hashes) or not lines:
        return np.full(NUM_MEASURES, np.nan, np.float32)
    number, characters = len(units.hashes), int(units.lengths.sum())
    words = text.split()
    visible = sum(map(len, words))
    symbols = max(text.count("#"), sum(text.count(sign) for sign in _ELLIPSES))
    letters = np.nan if units.unspaced else len(_LETTER_WORD.findall(text))
    found = _found(stop_words, units.hashes) if len(stop_words) else np.nan
    paragraphs = [part for part in map(str.strip, text.split("\n\n")) if part]
    spaced = np.nan if units.unspaced else 1.0
    top_grams, duplicate_grams = _repeated_runs(units)
    values = [
        number,
        spaced * characters / number,
        symbols / number,
        sum([line.startswith(_BULLETS) for line in lines]) / len(lines),
        sum([line.endswith(_ELLIPSES) for line in lines]) / len(lines),
        letters / len(words),
        found,
        1 - characters / max(visible, characters),
        *_repeated(lines),
        *_repeated(paragraphs),
        *top_grams,
        *duplicate_grams,
        sum([line.rstrip(_CLOSING)[-1:] in TERMINALS for line in lines]) / len(lines),
        sum([len(line) <= SHORT_LINE for line in lines]) / len(lines),
        # FineWeb counts line ends where a paragraph ends in one; ours ends in an empty line.
        (len(lines) - 1) / number,
        float(units.unspaced),
    ]
    return np.array(values, np.float32)


def _found(stop_words: np.ndarray, hashes: np.ndarray) -> int:
    """How many of the stop words are among the hashes, of which there is at least one."""
    ordered = np.sort(hashes)
    places = np.minimum(np.searchsorted(ordered, stop_words), len(ordered) - 1)
    return int((ordered[places] == stop_words).sum())


def _repeated(parts: Sequence[str]) -> tuple[float, float]:
    """The share of parts that stood before, and their share of the characters."""
    first = set(parts)
    total = sum(map(len, parts))
    return 1 - len(first) / len(parts), 1 - sum(map(len, first)) / total


def _repeated_runs(units: Units) -> tuple[list[float], list[float]]:
    """Shares of the characters, by size: of the most frequent run of units, and of those in a run that stood before.

    A run stands twice only where the one that is a unit shorter does, so that few places are left to look at.
    """
    before = np.concatenate([[0], np.cumsum(units.lengths)])
    number, total = len(units.hashes), int(before[-1])
    top, duplicate = dict.fromkeys(TOP_GRAMS, 0.0), dict.fromkeys(DUPLICATE_GRAMS, 0.0)
    places, runs = np.arange(number), units.hashes
    for size in range(2, DUPLICATE_GRAMS[-1] + 1):
        inside = places <= number - size
        places = places[inside]
        runs = runs[inside] * COMBINE + units.hashes[places + size - 1]
        order = np.argsort(runs, kind="stable")
        ordered = runs[order]
        edge = np.zeros(len(runs) + 1, bool)  # True between equal runs
        np.equal(ordered[1:], ordered[:-1], out=edge[1:-1])
        repeats = edge[:-1]
        if not repeats.any():
            break
        if size in top:
            top[size] = _most_frequent((before[places + size] - before[places])[order], repeats) / total
        if size in duplicate:
            edges = np.zeros(number + 1, np.int64)
            edges[places[order[repeats]]] += 1
            edges[places[order[repeats]] + size] -= 1
            duplicate[size] = float(units.lengths[np.cumsum(edges[:-1]) > 0].sum() / total)
        twice = np.zeros(len(runs), bool)
        twice[order[repeats | edge[1:]]] = True
        places, runs = places[twice], runs[twice]
    return [min(1.0, share) for share in top.values()], list(duplicate.values())


def _most_frequent(lengths: np.ndarray, repeats: np.ndarray) -> int:
    """How often the most frequent run stands, times its characters; of several as frequent the longest.

    lengths: characters of each run, equal runs side by side; repeats: whether a run is the one before it.
    """
    starts = np.flatnonzero(~repeats)
    counts = np.diff(np.append(starts, len(repeats)))
    most = int(counts.max())
    return most * int(lengths[starts[counts == most]].max())
