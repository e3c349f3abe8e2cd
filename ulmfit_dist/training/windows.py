"""Windows of token lanes as tensors on the training device, the next one read while the present one is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ulmfit_dist.corpus.lanes import LaneReader
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.training.losses import Targets
from ulmfit_dist.training.plan import Position

P = TypeVar("P")
R = TypeVar("R")


class DeviceWindow(NamedTuple):
    """A window of some lanes, and the number of targets over all lanes."""

    inputs: Tensor
    targets: Targets
    num_valid: int


def read_window(reader: LaneReader, place: tuple[int, int], lanes: range, device: torch.device) -> DeviceWindow:
    """Read the window at place (start, length) for the lanes of one rank."""
    start, length = place
    window = reader.window(start, length, lanes)
    complete = bool(window.valid.all())
    ids = window.targets.reshape(-1) if complete else window.targets[window.valid]
    valid = None if complete else _to(window.valid, device)
    targets = Targets(_to(ids, device), valid)
    return DeviceWindow(_to(window.inputs, device), targets, reader.num_valid(start, length))


def read_windows(
    reader: LaneReader, positions: Iterable[Position], lanes: range, device: torch.device
) -> Iterator[tuple[Position, DeviceWindow]]:
    """Yield every position with its window."""
    return prefetched(lambda p: read_window(reader, (p.start, p.length), lanes, device), positions)


def prefetched(make: Callable[[P], R], items: Iterable[P]) -> Iterator[tuple[P, R]]:
    """Yield (item, make(item)) in order, making the next one in a thread meanwhile; its errors are raised here."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            pending = (item, pool.submit(make, item))
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = pending
        if waiting is not None:
            yield waiting[0], waiting[1].result()


def window_documents(stream: TokenStream, order: np.ndarray, num_lanes: int, position: Position) -> list[str]:
    """Return the ids of the documents that a window reads from, lane by lane, each once: for messages."""
    ends = np.cumsum(stream.document_lengths[order])
    targets = int(ends[-1]) - 1
    found: dict[str, None] = {}
    for lane in range(num_lanes):
        first = lane * targets // num_lanes + position.start
        last = min(first + position.length, (lane + 1) * targets // num_lanes)
        low, high = (int(np.searchsorted(ends, place, "right")) for place in (first, last))
        found.update(dict.fromkeys(stream.document_id(int(order[i])) for i in range(low, high + 1)))
    return list(found)


def _to(array: np.ndarray, device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
