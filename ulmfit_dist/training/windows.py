"""Windows of token lanes as tensors on the training device, the next one read while the present one is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ulmfit_dist.corpus.lanes import LaneReader
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.training.losses import Targets
from ulmfit_dist.training.plan import Position

# One window in about 90 reads the text of all of them: so many others are ready while a GPU's next steps wait for it.
_AHEAD = 4

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
    """Yield every position with its window, ready for use on the current stream."""
    if device.type != "cuda":
        yield from prefetched(lambda p: read_window(reader, (p.start, p.length), lanes, device), positions)
        return
    # A stream of their own: on the training's, a copy would wait for the step before it.
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    training = torch.cuda.current_stream(device)

    def read(position: Position) -> tuple[DeviceWindow, torch.cuda.Event]:
        with torch.cuda.stream(stream):
            return read_window(reader, (position.start, position.length), lanes, device), stream.record_event()

    for position, (window, copied) in prefetched(read, positions, _AHEAD):
        training.wait_event(copied)
        for tensor in (window.inputs, *window.targets):
            if tensor is not None:
                tensor.record_stream(training)  # its memory is not to be used again before the training is done with it
        yield position, window


def prefetched(make: Callable[[P], R], items: Iterable[P], ahead: int = 1) -> Iterator[tuple[P, R]]:
    """Yield (item, make(item)) in order, making the next `ahead` in a thread meanwhile; its errors are raised here."""
    waiting: deque[tuple[P, Future[R]]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for item in items:
            waiting.append((item, pool.submit(make, item)))
            if len(waiting) > ahead:
                first, made = waiting.popleft()
                yield first, made.result()
        for first, made in waiting:
            yield first, made.result()


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
