"""TensorBoard event files, made from the same reports as the curves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmfit_dist.events import Reporter

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

_TAGS = {"point": "train", "validation": "validation"}


def scalars(kind: str, fields: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a `point` or `validation` event by tag; nothing for other events."""
    if kind not in _TAGS:
        return {}
    numbers = {name: value for name, value in fields.items() if isinstance(value, int | float) and name != "step"}
    return {f"{_TAGS[kind]}/{name}": float(value) for name, value in numbers.items()}


class BoardReporter:
    """Passes every report on, and writes the numbers of `point` and `validation` events as scalars by step.

    The files carry wall times and host names: they are for looking at and no part of a result. A disk that refuses
    them does not stop the training.
    """

    def __init__(self, reporter: Reporter, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # half a second, for trainings alone

        self._reporter = reporter
        self._writer: EventFileWriter | None = None
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = EventFileWriter(str(folder))

    def event(self, kind: str, **fields: Any) -> None:
        """Pass on; write the scalars of points and validations."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._reporter.event(kind, **fields)
        if self._writer is not None and (measures := scalars(kind, fields)):
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in measures.items()]
            event = Event(wall_time=time.time(), step=int(fields["step"]), summary=Summary(value=values))
            with contextlib.suppress(OSError):
                self._writer.add_event(event)

    def progress(self, done: float, total: float, **metrics: Any) -> None:
        """Pass on."""
        self._reporter.progress(done, total, **metrics)

    def close(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
