"""Windows on the device: what the lanes say, the documents they come from, and read-ahead that keeps order."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ulmfit_dist.corpus.lanes import LaneReader, epoch_order
from ulmfit_dist.training.plan import Position
from ulmfit_dist.training.windows import prefetched, read_window, window_documents

CPU = torch.device("cpu")


def test_window_equals_the_text(make_stream) -> None:
    stream = make_stream("a", [[2, 3, 4], [2, 5, 6, 7]])
    reader = LaneReader(stream, np.arange(2), 2, "forward")
    # D = 2 3 4 2 5 6 7: six targets, lanes 3 4 2 and 5 6 7.
    window = read_window(reader, (0, 3), range(2), CPU)
    assert window.inputs.tolist() == [[2, 2], [3, 5], [4, 6]]
    assert window.targets.ids_N.tolist() == [3, 5, 4, 6, 2, 7]
    assert window.targets.valid_TB is None
    assert window.num_valid == 6


def test_short_lanes_are_masked(make_stream) -> None:
    stream = make_stream("a", [[2, 3, 4], [2, 5, 6]])
    reader = LaneReader(stream, np.arange(2), 2, "forward")
    window = read_window(reader, (0, 3), range(2), CPU)
    assert window.targets.valid_TB is not None
    assert window.targets.valid_TB.tolist() == [[True, True], [True, True], [False, True]]
    assert window.targets.ids_N.tolist() == [3, 2, 4, 5, 6]
    assert window.num_valid == 5
    out = torch.arange(6.0).reshape(3, 2, 1)
    assert window.targets.select(out).flatten().tolist() == [0, 1, 2, 3, 5]


def test_window_documents_names_what_each_lane_reads(make_stream) -> None:
    documents = [[2, *([5] * (3 + i))] for i in range(6)]
    stream = make_stream("a", documents)
    order = epoch_order(6, 1, 0)
    reader = LaneReader(stream, order, 3, "forward")
    owner = [int(i) for i in order for _ in documents[i]]
    targets = len(owner) - 1
    for start in range(0, reader.max_lane_length, 4):
        length = min(4, reader.max_lane_length - start)
        read: list[int] = []
        for lane in range(3):
            first = lane * targets // 3 + start
            read += owner[first : min(first + length, (lane + 1) * targets // 3) + 1]
        expected = {f"{i:032x}" for i in read}
        found = window_documents(stream, order, 3, Position(0, 0, start, length, last_of_epoch=False))
        assert set(found) == expected
        assert len(found) == len(expected)


@pytest.mark.parametrize("ahead", [1, 3])
def test_prefetched_keeps_order_and_reads_so_many_ahead(ahead: int) -> None:
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return item * 10

    results: Iterator[tuple[int, int]] = prefetched(make, range(5), ahead)
    assert next(results) == (0, 0)
    time.sleep(0.05)
    assert made == list(range(ahead + 1))
    assert list(results) == [(1, 10), (2, 20), (3, 30), (4, 40)]
    assert list(prefetched(make, [], ahead)) == []
    assert list(prefetched(make, [7], ahead)) == [(7, 70)]


def test_prefetched_raises_the_readers_error_at_its_item() -> None:
    def make(item: int) -> int:
        if item == 1:
            raise OSError("lost disk")
        return item

    results = prefetched(make, range(3))
    assert next(results) == (0, 0)
    with pytest.raises(OSError, match="lost disk"):
        next(results)
