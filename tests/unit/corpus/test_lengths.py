"""Histograms of document lengths: exact sums over any sharding, percentiles within a sixteenth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.corpus.lengths import (
    PERCENTILES,
    describe_lengths,
    length_histogram,
    merge_histograms,
    percentile,
)

LENGTHS = st.lists(st.integers(1, 2**40), min_size=1, max_size=60)


def test_short_lengths_have_a_bin_each_and_long_ones_sixteen_an_octave():
    assert length_histogram(np.array([1, 31, 1, 30])) == {"1": 2, "30": 1, "31": 1}
    octave = np.arange(1024, 2048)
    assert length_histogram(octave) == {str(low): 64 for low in range(1024, 2048, 64)}
    assert length_histogram(np.zeros(0, np.int64)) == {}


@given(LENGTHS, st.integers(1, 7))
def test_the_histogram_of_all_is_the_sum_of_those_of_the_parts(lengths, size):
    parts = [np.array(lengths[low : low + size]) for low in range(0, len(lengths), size)]
    merged = merge_histograms(length_histogram(part) for part in parts)
    whole = length_histogram(np.array(lengths))
    assert merged == whole
    assert list(merged) == list(whole) == sorted(whole, key=int)


@given(LENGTHS, st.sampled_from(PERCENTILES))
def test_a_percentile_is_the_nearest_rank_or_less_than_a_sixteenth_above(lengths, percent):
    exact = sorted(lengths)[math.ceil(percent * len(lengths) / 100) - 1]
    found = percentile(length_histogram(np.array(lengths)), percent)
    assert exact <= found < exact * 17 / 16
    assert exact >= 32 or found == exact


def test_what_is_said_of_lengths():
    described = describe_lengths({"1": 1, "3": 2, "1024": 1}, 1, 1030, 1037)
    assert described["mean"] == pytest.approx(1037 / 4)
    assert (described["min"], described["max"]) == (1, 1030)
    # 1,030 lies in the bin 1,024 to 1,087: no percentile is longer than the longest document.
    assert described["percentiles"] == {"1": 1, "5": 1, "25": 1, "50": 3, "75": 3, "95": 1030, "99": 1030}
    assert describe_lengths({}, 0, 0, 0)["percentiles"]["50"] == describe_lengths({}, 0, 0, 0)["mean"] == 0
