"""A request to stop reaches a training loop by a file: files reach every node and process, signals do not."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from ulmfit_dist.training.stop import STOP

_POLL_S = 0.5


@contextlib.contextmanager
def stop_file_watched(path: Path) -> Iterator[None]:
    """Inside the block, turn the appearance of the file into the loops' request to stop at a checkpoint."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_S):
            if path.exists():
                STOP.request()

    STOP.clear()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        STOP.clear()
