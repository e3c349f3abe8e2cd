"""Bootstrap intervals (Efron 1979, percentile form), seeded.

A measure is a function of sums over the documents. Drawing N documents with replacement and counting the equal ones is
one multinomial draw over the distinct rows, so where rows repeat (classes do) a resample costs a few numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.finetune.metrics import Floats

# Sums (R, K) to each measure's values (R,).
Statistics = Callable[[Floats], dict[str, Floats]]
# Counts of a block of resamples: 16 MB where every document is a row of its own, as in a regression.
_BLOCK_COUNTS = 1 << 21


class BootstrapSettings(Settings):
    """How intervals are drawn."""

    resamples: int = Field(default=2000, ge=1000, description="number of bootstrap resamples")
    level: float = Field(default=0.95, gt=0, lt=1, description="coverage of the interval")
    seed: int = Field(default=1, ge=0, description="seed of the resamples")


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its bootstrap percentile interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The difference a - b on the same documents, its interval, and the two-sided bootstrap p value."""

    difference: float
    low: float
    high: float
    p_value: float


def intervals(rows: Floats, statistics: Statistics, settings: BootstrapSettings) -> dict[str, Interval]:
    """Return each measure of the documents' rows (N, K) with its interval."""
    observed, draws = statistics(_sums(rows)), statistics(_resampled_sums(rows, settings))
    return {name: _interval(float(value[0]), draws[name], settings.level) for name, value in observed.items()}


def paired(a: Floats, b: Floats, measure: Callable[[Floats], Floats], settings: BootstrapSettings) -> PairedDifference:
    """Compare a measure (sums (R, K) to (R,)) of two systems on the same resampled documents, rows (N, K) each.

    p = 2 * min(share of differences <= 0, share >= 0), with one resample added to each so that it is never 0.
    """
    rows, width = np.concatenate([a, b], axis=1), a.shape[1]
    observed, draws = _sums(rows), _resampled_sums(rows, settings)
    differences = measure(draws[:, :width]) - measure(draws[:, width:])
    value = float((measure(observed[:, :width]) - measure(observed[:, width:]))[0])
    interval = _interval(value, differences, settings.level)
    tail = min(int((differences <= 0).sum()), int((differences >= 0).sum())) + 1
    p_value = min(1.0, 2 * tail / (len(differences) + 1))
    return PairedDifference(interval.value, interval.low, interval.high, p_value)


def _sums(rows: Floats) -> Floats:
    return np.asarray(rows.sum(0, keepdims=True), dtype=np.float64)


def _resampled_sums(rows: Floats, settings: BootstrapSettings) -> Floats:
    cells, counts = np.unique(rows, axis=0, return_counts=True)
    generator = np.random.Generator(np.random.PCG64(settings.seed))
    block = max(1, _BLOCK_COUNTS // len(cells))
    sums = []
    for start in range(0, settings.resamples, block):
        size = min(block, settings.resamples - start)
        drawn = generator.multinomial(len(rows), counts / counts.sum(), size=size)
        sums.append(drawn.astype(np.float64) @ cells)
    return np.concatenate(sums)


def _interval(value: float, draws: Floats, level: float) -> Interval:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
