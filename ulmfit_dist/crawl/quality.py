"""Quality of a text in numbers, the rules of Gopher (Rae 2021) and FineWeb (Penedo 2024) without their thresholds.

What is measured is kept beside the documents, so that other thresholds (rules.py) measure nothing again. Where scripts
put no spaces between words a character counts as a word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ulmfit_dist.crawl.minhash import Units, grams_of

if TYPE_CHECKING:
    from collections.abc import Sequence

# Sentences end so in the scripts of the world; closing quotes and brackets may follow.
TERMINALS = frozenset(".!?…‥:;。！？：；．｡؟۔؛।॥።፧፨။၊།༎៖។៕჻։᠃᠉꓿")
_CLOSING = "\"'”’»›)]}」』）】》〉 "
_BULLETS = ("•", "‣", "◦", "●", "○", "▪", "■", "·", "- ", "* ", "– ", "— ")
_ELLIPSES = ("...", "…", "‥")
_LETTER = re.compile(r"[^\W\d_]")
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
    letters = sum(word.isalpha() or _LETTER.search(word) is not None for word in words)
    found = np.isin(stop_words, units.hashes).sum() if len(stop_words) else np.nan
    paragraphs = [part for part in map(str.strip, text.split("\n\n")) if part]
    spaced = np.nan if units.unspaced else 1.0
    values = [
        number,
        spaced * characters / number,
        symbols / number,
        sum(line.startswith(_BULLETS) for line in lines) / len(lines),
        sum(line.endswith(_ELLIPSES) for line in lines) / len(lines),
        spaced * letters / len(words),
        found,
        1 - characters / max(visible, characters),
        *_repeated(lines),
        *_repeated(paragraphs),
        *(_top_gram(units, size) for size in TOP_GRAMS),
        *(_duplicate_grams(units, size) for size in DUPLICATE_GRAMS),
        sum(line.rstrip(_CLOSING)[-1:] in TERMINALS for line in lines) / len(lines),
        sum(len(line) <= SHORT_LINE for line in lines) / len(lines),
        # FineWeb counts line ends where a paragraph ends in one; ours ends in an empty line.
        (len(lines) - 1) / number,
        float(units.unspaced),
    ]
    return np.array(values, np.float32)


def _repeated(parts: Sequence[str]) -> tuple[float, float]:
    """The share of parts that stood before, and their share of the characters."""
    first = set(parts)
    total = sum(map(len, parts))
    return 1 - len(first) / len(parts), 1 - sum(map(len, first)) / total


def _top_gram(units: Units, size: int) -> float:
    """The share of the characters that the most frequent gram stands for, if any stands twice."""
    grams = np.sort(grams_of(units.hashes, size))
    if not len(grams):
        return 0.0
    starts = np.flatnonzero(np.concatenate([[True], grams[1:] != grams[:-1]]))
    counts = np.diff(np.append(starts, len(grams)))
    most = int(counts.max())
    if most < 2:
        return 0.0
    # Of several as frequent the longest: the order of their hashes must not matter.
    frequent = np.isin(grams_of(units.hashes, size), grams[starts[counts == most]])
    lengths = np.convolve(units.lengths, np.ones(size, np.int64), "valid")[frequent]
    return float(min(1.0, most * int(lengths.max()) / int(units.lengths.sum())))


def _duplicate_grams(units: Units, size: int) -> float:
    """The share of the characters that lie in a gram which stood before."""
    grams = grams_of(units.hashes, size)
    order = np.argsort(grams, kind="stable")
    again = np.zeros(len(grams), bool)
    again[order[1:]] = grams[order[1:]] == grams[order[:-1]]
    if not again.any():
        return 0.0
    edges = np.zeros(len(units.hashes) + 1, np.int64)
    edges[: len(grams)] += again
    edges[size : size + len(grams)] -= again
    covered = np.cumsum(edges[:-1]) > 0
    return float(units.lengths[covered].sum() / units.lengths.sum())
