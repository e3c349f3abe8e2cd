"""Requests that reach a training loop from outside: a file that appears, a node that will be drained, a signal.

A file reaches every node and process, a signal only one: whoever gets the signal writes the file.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from ulmfit_dist.errors import SignalledError, StoppedError
from ulmfit_dist.training.stop import STOP

_POLL_S = 0.5


@contextlib.contextmanager
def stop_file_watched(path: Path) -> Iterator[None]:
    """Inside the block, turn the appearance of the file into the loops' request to stop at a checkpoint."""

    def look() -> bool:
        if path.exists():
            STOP.request()
        return False

    STOP.clear()
    try:
        with _polled(look):
            yield
    finally:
        STOP.clear()


@contextlib.contextmanager
def drain_watched() -> Iterator[None]:
    """Inside the block, in a rank of Ray Train, ask for one checkpoint when a node of the group is to be drained.

    Ray starts the group again when the node has gone, and the training goes on from there.
    """
    # Here: importing ray.train takes seconds, and coordinator and CLI need this module too.
    from ray.train.v2._internal.execution.context import get_train_context

    # ray.train.get_preemption_info would be a barrier of all ranks; they agree on the step by themselves.
    notice = get_train_context().preemption_context

    def look() -> bool:
        if notice.preemption_info is None:
            return False
        STOP.request_save()
        return True

    with _polled(look):
        yield


@contextlib.contextmanager
def signals_as_stop(path: Path) -> Iterator[None]:
    """Inside the block, let SIGTERM and SIGINT ask for a stop by writing the file `path`.

    Raises SignalledError in place of the StoppedError that comes of it. Signals are the main thread's affair: in
    another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        caught.append(number)
        STOP.request()
        path.touch()

    path.unlink(missing_ok=True)
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except StoppedError as error:
        if caught:
            raise SignalledError(caught[0], do=error.do) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        STOP.clear()
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _polled(look: Callable[[], bool]) -> Iterator[None]:
    """Inside the block, call `look` every half second until it returns True."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_S):
            if look():
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
