"""Lanes against the formula of DESIGN section 5, stated again in plain Python over a plain list."""

from __future__ import annotations

from collections import Counter
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit_dist.corpus import lanes as lanes_module
from ulmfit_dist.corpus.lanes import LaneReader, epoch_order, reverse_document, window_lengths

PAD = 1


def concatenation(documents, order, direction):
    """D: the documents in order, each one mirrored when backward."""
    ordered = [documents[index] for index in order]
    return [token for document in ordered for token in (document if direction == "forward" else document[::-1])]


def lane_pairs(tokens, lane, num_lanes):
    """(input, target) of a lane: targets 1+floor(b(N-1)/B) ... floor((b+1)(N-1)/B), inputs one earlier."""
    size = len(tokens) - 1
    first, last = 1 + lane * size // num_lanes, (lane + 1) * size // num_lanes
    return [(tokens[position - 1], tokens[position]) for position in range(first, last + 1)]


def read_lanes(reader, lengths, lanes):
    """Every lane's (input, target) pairs as the windows give them."""
    pairs = {lane: [] for lane in lanes}
    start = 0
    for length in lengths:
        window = reader.window(start, length, lanes)
        assert window.inputs.shape == window.targets.shape == window.valid.shape == (length, len(lanes))
        assert window.inputs.dtype == window.targets.dtype == np.int64
        assert window.valid.dtype == np.bool_
        assert (window.targets[~window.valid] == PAD).all()
        assert (window.inputs[~window.valid] == PAD).all()
        for column, lane in enumerate(lanes):
            valid = window.valid[:, column]
            pairs[lane] += zip(
                window.inputs[valid, column].tolist(), window.targets[valid, column].tolist(), strict=True
            )
        start += length
    return pairs


@pytest.mark.parametrize("num_shards", [1, 2, 5])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("num_lanes", [1, 3, 8])
def test_lanes_are_the_formula_and_go_on_from_window_to_window(
    make_stream, documents, num_shards, direction, num_lanes
):
    stream = make_stream(documents, num_shards)
    order = epoch_order(len(documents), seed=3, epoch=1)
    reader = LaneReader(stream, order, num_lanes, direction)
    lengths = [7, 1, 20, *[5] * 200]
    found = read_lanes(reader, lengths, range(num_lanes))
    tokens = concatenation(documents, order, direction)
    assert found == {lane: lane_pairs(tokens, lane, num_lanes) for lane in range(num_lanes)}
    assert [reader.lane_length(lane) for lane in range(num_lanes)] == [len(found[lane]) for lane in range(num_lanes)]
    assert reader.max_lane_length == max(len(pairs) for pairs in found.values())


def test_every_token_but_the_first_is_a_target_exactly_once(make_stream):
    # Ids that are all different: a multiset then names positions.
    documents = [list(range(10, 25)), list(range(25, 26)), list(range(26, 60)), list(range(60, 99))]
    reader = LaneReader(make_stream(documents, 2), np.array([2, 0, 3, 1]), 4, "forward")
    lengths = window_lengths(reader.max_lane_length, 5, jitter=False, seed=0, epoch=0)
    pairs = read_lanes(reader, lengths, range(4))
    targets = Counter(target for lane in pairs.values() for _, target in lane)
    assert targets == Counter(set(range(10, 99)) - {26})


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    num_lanes=st.integers(1, 9),
    start=st.integers(0, 40),
    length=st.integers(1, 20),
    backward=st.booleans(),
)
def test_any_window_of_any_corpus(lengths, num_lanes, start, length, backward):
    ids = iter(range(10, 1000))
    documents = [[next(ids) for _ in range(size)] for size in lengths]
    direction = "backward" if backward else "forward"
    reader = LaneReader(InMemory(documents), np.arange(len(documents)), num_lanes, direction)
    tokens = concatenation(documents, range(len(documents)), direction)
    window = reader.window(start, length, range(num_lanes))
    for lane in range(num_lanes):
        expected = lane_pairs(tokens, lane, num_lanes)[start : start + length]
        valid = window.valid[:, lane]
        assert valid.tolist() == [True] * len(expected) + [False] * (length - len(expected))
        assert window.inputs[valid, lane].tolist() == [pair[0] for pair in expected]
        assert window.targets[valid, lane].tolist() == [pair[1] for pair in expected]
    assert reader.num_valid(start, length) == int(window.valid.sum())


class InMemory:
    """What LaneReader asks of a stream, over plain lists: every document a shard of its own."""

    def __init__(self, documents):
        self.shard_tokens = [np.array(document, np.uint16) for document in documents]
        self.document_starts = np.cumsum([0, *map(len, documents)])
        self.shard_starts = self.document_starts[:-1]
        self.pad_id = PAD


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_ranks_together_read_what_one_rank_reads(make_stream, documents, world_size):
    reader = LaneReader(make_stream(documents, 5), epoch_order(len(documents), 1, 0), 8, "backward")
    whole = reader.window(3, 11, range(8))
    each = 8 // world_size
    parts = [reader.window(3, 11, range(rank * each, (rank + 1) * each)) for rank in range(world_size)]
    for name in ("inputs", "targets", "valid"):
        joined = np.concatenate([getattr(part, name) for part in parts], axis=1)
        assert np.array_equal(joined, getattr(whole, name))


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    num_lanes=st.integers(2, 5),
    requests=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9), st.booleans()), min_size=2, max_size=12),
    backward=st.booleans(),
)
def test_a_window_is_the_same_whatever_was_read_before(lengths, num_lanes, requests, backward):
    documents = [[10 + 9 * number + place for place in range(size)] for number, size in enumerate(lengths)]
    direction = "backward" if backward else "forward"
    order = epoch_order(len(documents), 1, 0)
    reader = LaneReader(InMemory(documents), order, num_lanes, direction)
    tokens = concatenation(documents, order, direction)
    with mock.patch.object(lanes_module, "_BLOCK_STEPS", 7):
        for start, length, all_lanes in requests:
            lanes = range(num_lanes) if all_lanes else range(1, num_lanes)
            window = reader.window(start, length, lanes)
            for column, lane in enumerate(lanes):
                expected = lane_pairs(tokens, lane, num_lanes)[start : start + length]
                padding = [(PAD, PAD)] * (length - len(expected))
                found = zip(window.inputs[:, column].tolist(), window.targets[:, column].tolist(), strict=True)
                assert list(found) == expected + padding
                assert int(window.valid[:, column].sum()) == len(expected)


def test_windows_in_order_read_each_token_from_the_stream_once(make_stream, documents, monkeypatch):
    reader = LaneReader(make_stream(documents, 3), epoch_order(len(documents), 9, 2), 4, "forward")
    reads = []
    pieces = LaneReader._pieces
    monkeypatch.setattr(LaneReader, "_pieces", lambda self, *places: reads.append(places) or pieces(self, *places))
    for start in range(0, reader.max_lane_length, 10):
        reader.window(start, min(10, reader.max_lane_length - start), range(4))
    # The first window is read alone: it says nothing of what comes. The second is read ahead.
    assert len(reads) == 2


def test_a_window_that_is_written_into_does_not_change_the_next(make_stream, documents):
    reader = LaneReader(make_stream(documents, 2), np.arange(len(documents)), 4, "forward")
    first = reader.window(0, 5, range(4))
    expected = [array.copy() for array in first[:2]]
    first.inputs[:] = first.targets[:] = 99
    assert [array.tolist() for array in reader.window(0, 5, range(4))[:2]] == [array.tolist() for array in expected]


def test_windows_do_not_depend_on_the_number_of_shards(make_stream, documents):
    order = epoch_order(len(documents), 9, 2)
    windows = [LaneReader(make_stream(documents, n), order, 6, "forward").window(4, 30, range(6)) for n in (1, 2, 5)]
    assert all(np.array_equal(window.inputs, windows[0].inputs) for window in windows)
    assert all(np.array_equal(window.targets, windows[0].targets) for window in windows)


def test_backward_is_the_mirror_of_each_document_in_the_same_order(make_stream):
    reader = LaneReader(make_stream([[2, 10, 11], [2, 20]], 1), np.array([0, 1]), 1, "backward")
    window = reader.window(0, 4, range(1))
    assert window.inputs[:, 0].tolist() == [11, 10, 2, 20]
    assert window.targets[:, 0].tolist() == [10, 2, 20, 2]
    assert reverse_document(np.array([2, 10, 11])).tolist() == [11, 10, 2]


@pytest.mark.parametrize("documents", [[], [[2]]])
def test_a_stream_without_targets_has_no_windows(make_stream, documents):
    reader = LaneReader(make_stream(documents), np.arange(len(documents)), 4, "forward")
    assert reader.max_lane_length == 0
    assert reader.num_valid(0, 10) == 0
    assert len(window_lengths(0, 70, jitter=True, seed=1, epoch=1)) == 0
    assert not reader.window(0, 3, range(4)).valid.any()


def test_order_is_a_permutation_of_seed_and_epoch_alone():
    order = epoch_order(1000, seed=7, epoch=2)
    assert sorted(order.tolist()) == list(range(1000))
    assert np.array_equal(order, epoch_order(1000, seed=7, epoch=2))
    assert not np.array_equal(order, epoch_order(1000, seed=7, epoch=3))
    assert not np.array_equal(order, epoch_order(1000, seed=8, epoch=2))
    assert epoch_order(5, 7, 2, shuffle=False).tolist() == [0, 1, 2, 3, 4]
    # Golden: a change of the order would make every run that is under way another run.
    assert epoch_order(8, seed=42, epoch=0).tolist() == [4, 5, 3, 0, 2, 7, 1, 6]


def test_first_places_of_shuffled_orders_are_uniform():
    firsts = Counter(int(epoch_order(4, seed, 0)[0]) for seed in range(2000))
    assert all(400 < count < 600 for count in firsts.values()), firsts


def test_plain_windows_are_bptt_and_a_rest():
    assert window_lengths(205, 70, jitter=False, seed=0, epoch=0).tolist() == [70, 70, 65]
    assert window_lengths(140, 70, jitter=False, seed=0, epoch=0).tolist() == [70, 70]


def test_jittered_windows_are_drawn_as_awd_lstm_draws_them():
    lengths = window_lengths(2_000_000, 70, jitter=True, seed=4, epoch=1)
    assert lengths.sum() == 2_000_000
    assert lengths[:-1].min() >= 5
    # Modes 70 and 35 lie 7 standard deviations apart: 52 parts them. int() truncates, which takes half a token.
    full, half = lengths[lengths > 52], lengths[(lengths <= 52)][:-1]
    assert abs(len(half) / len(lengths) - 0.05) < 0.005
    assert abs(full.mean() - 69.5) < 0.15
    assert abs(full.std() - 5.0) < 0.15
    assert abs(half.mean() - 34.5) < 0.6


def test_jittered_windows_depend_on_seed_and_epoch_and_never_fall_under_five():
    assert not np.array_equal(window_lengths(5000, 70, True, 1, 0), window_lengths(5000, 70, True, 2, 0))
    assert not np.array_equal(window_lengths(5000, 70, True, 1, 0), window_lengths(5000, 70, True, 1, 1))
    assert np.array_equal(window_lengths(5000, 70, True, 1, 1), window_lengths(5000, 70, True, 1, 1))
    assert window_lengths(3000, 6, True, 1, 0)[:-1].min() == 5


def test_no_lanes_is_refused(make_stream):
    with pytest.raises(ValueError, match="num_lanes"):
        LaneReader(make_stream([[2, 3]]), np.arange(1), 0, "forward")
