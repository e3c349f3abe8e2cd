"""Events: one JSON object a line, appended, never rewritten. Progress of a stage is an event like any other.

A stage writes `events.jsonl` in its own folder, from whatever process or node it runs in; the run's `events.jsonl`
holds the coordinator's. Files are the only channel, so that watching needs no connection and survives every kill.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENTS_NAME = "events.jsonl"
PROGRESS_INTERVAL_S = 0.5


class Reporter(Protocol):
    """How a stage tells of its work; it never fails the work."""

    def event(self, kind: str, **fields: Any) -> None:
        """Record something that happened, at once."""

    def progress(self, done: float, total: float, **metrics: Any) -> None:
        """Say how far the work is, in the stage's own unit, with metrics; calls may come every step."""


class EventLog:
    """A Reporter that appends to a file: one `write` a line with O_APPEND, so that processes do not mix lines."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._last_progress = 0.0

    def event(self, kind: str, **fields: Any) -> None:
        """Append {"time", "kind", ...fields}."""
        line = json.dumps({"time": round(time.time(), 3), "kind": kind, **fields}, ensure_ascii=False, default=str)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)

    def progress(self, done: float, total: float, **metrics: Any) -> None:
        """Append a progress event, at most two a second except for the last one."""
        now = time.monotonic()
        if done < total and now - self._last_progress < PROGRESS_INTERVAL_S:
            return
        self._last_progress = now
        self.event("progress", done=done, total=total, **metrics)


class Silent:
    """A Reporter that says nothing: for tests and for library use."""

    def event(self, kind: str, **fields: Any) -> None:
        """Do nothing."""

    def progress(self, done: float, total: float, **metrics: Any) -> None:
        """Do nothing."""


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read every whole line of an event file; a torn one (a kill, a full disk) is left out."""
    return list(parse_events(path.read_bytes())) if path.exists() else []


def parse_events(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the events in some bytes of an event file, up to the last end of line."""
    for line in data.split(b"\n")[:-1]:
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)
