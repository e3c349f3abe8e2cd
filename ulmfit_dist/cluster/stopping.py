"""Requests that reach a training loop from outside: a file that appears, a node that will be drained, a signal.

A file reaches every node and process, a signal only one: whoever gets the signal writes the file.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from ulmfit_dist.cluster.lock import read_owner
from ulmfit_dist.errors import InputError, SignalledError, StoppedError
from ulmfit_dist.training.stop import STOP

# A file of this name in a run directory asks the run's coordinator to stop.
CANCEL_NAME = "cancel"
_POLL_S = 0.5


def cancel_run(run_dir: Path, wait_s: float) -> bool:
    """Ask the run's coordinator, on whatever machine, to stop; return whether it has ended within `wait_s` seconds.

    Raises InputError when no live run owns the directory.
    """
    found = read_owner(run_dir)
    if found is None or not found[1]:
        raise InputError(f"no live run in {run_dir}", found="nobody owns it", do="see how it stands: ulmfit status")
    path, deadline = run_dir / CANCEL_NAME, time.monotonic() + wait_s
    path.touch()
    while (now := read_owner(run_dir)) is not None and now[1] and now[0] == found[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    path.unlink(missing_ok=True)  # of a run that ended before it looked
    return True


class StopRequest:
    """What may ask a run to stop: SIGINT, SIGTERM, and the file that `ulmfit cancel` writes in the run directory.

    A request of an earlier run does not count.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / CANCEL_NAME
        self._path.unlink(missing_ok=True)
        self._signals: list[int] = []

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note signals inside the block instead of dying of them; in a thread of its own a run has only the file."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _: FrameType | None) -> None:
            self._signals.append(number)

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def urgent(self) -> bool:
        """Whether somebody asked twice: no checkpoint is waited for."""
        return len(self._signals) > 1

    def made(self) -> StoppedError | None:
        """Return the error to end with once a stop was asked for; the file is used up by that."""
        do = "run the same command to continue"
        if self._signals:
            return SignalledError(self._signals[0], do=do)
        if self._path.exists():
            self._path.unlink(missing_ok=True)
            return StoppedError("cancelled by request", do=do)
        return None


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
