"""How long documents are: a histogram that adds up exactly over shards, and what a manifest says of it.

A bin is named by the shortest length in it. Lengths below 32 have a bin each; from there on an octave (32 to 63, 64 to
127 ...) has 16, so that a bin's longest length is less than 1/16 above its shortest, and a shard of any size needs at
most a few hundred bins.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_BITS = 5  # the leading bits of a length that name its bin


def length_histogram(lengths: np.ndarray) -> dict[str, int]:
    """Count lengths (n,) of at least 0 by bin: {the bin's shortest length in decimal digits: count}, ascending."""
    shift = np.maximum(np.frexp(lengths.astype(np.float64))[1] - _BITS, 0)
    bins, counts = np.unique((lengths.astype(np.int64) >> shift) << shift, return_counts=True)
    return {str(low): count for low, count in zip(bins.tolist(), counts.tolist(), strict=True)}


def merge_histograms(histograms: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add histograms up: what `length_histogram` gives for all of their documents together."""
    total: Counter[str] = Counter()
    for histogram in histograms:
        total.update(histogram)
    return dict(sorted(total.items(), key=lambda item: int(item[0])))


def percentile(histogram: Mapping[str, int], percent: int) -> int:
    """Return the longest length of the bin that holds the nearest-rank percentile; 0 of no documents.

    It is that percentile itself below 32, and less than 1/16 above it from there on.
    """
    rank = -(-percent * sum(histogram.values()) // 100)
    seen = 0
    for low, count in histogram.items():
        seen += count
        if seen >= rank:
            return _longest(int(low))
    return 0


def describe_lengths(histogram: Mapping[str, int], shortest: int, longest: int, tokens: int) -> dict[str, Any]:
    """Return {min, max, mean, percentiles: {"1": ...}} of documents that hold `tokens` tokens in all; zeros of none."""
    documents = sum(histogram.values())
    return {
        "min": shortest,
        "max": longest,
        "mean": tokens / documents if documents else 0.0,
        "percentiles": {str(percent): min(percentile(histogram, percent), longest) for percent in PERCENTILES},
    }


def _longest(low: int) -> int:
    return low + (1 << max(low.bit_length() - _BITS, 0)) - 1
