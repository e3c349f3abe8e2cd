"""What the user sees while a run works: Rich bars on a terminal, plain timed lines elsewhere.

Bars garble job logs (ray#9233, #46826), so a stream that is no terminal gets one line every ten seconds a stage.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LINE_INTERVAL_S = 10.0


class Watch(Protocol):
    """Told of everything that happens in a run."""

    def started(self, stage: str) -> None:
        """A stage began."""

    def progress(self, stage: str, event: dict[str, Any]) -> None:
        """A stage said how far it is."""

    def ended(self, stage: str, outcome: str, seconds: float) -> None:
        """A stage ended as `done`, `kept` (finished before this run), `failed` or `blocked`."""

    def note(self, text: str) -> None:
        """Something else the user should know."""

    def close(self) -> None:
        """The run is over."""


def make_watch(console: Console) -> Watch:
    """Return bars for a terminal and plain lines for anything else."""
    return _Bars(console) if console.is_terminal else _Lines(console)


def describe(event: dict[str, Any]) -> str:
    """Say a progress event's metrics in words: loss and speed first, as a person scans them."""
    parts = [event["what"]] if event.get("what") else []
    if isinstance(event.get("epoch"), (int, float)):
        parts.append(f"epoch {event['epoch']:g}")
    if isinstance(event.get("loss"), (int, float)):
        parts.append(f"loss {event['loss']:.3f}")
    for key, unit in (("tokens_per_s", "tokens/s"), ("documents_per_s", "documents/s")):
        if isinstance(event.get(key), (int, float)):
            parts.append(f"{event[key]:,.0f} {unit}")
    if event.get("nodes"):
        parts.append(event["nodes"])
    return ", ".join(parts)


def describe_estimate(event: dict[str, Any]) -> str:
    """Say what a step will take, before it begins."""
    size = f"{event['sample_characters']:,} characters"
    return f"{event['what']}: {size}, about {event['seconds']:.0f} s and {event['megabytes']:,} MB"


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._last: dict[str, float] = {}
        self._begun: dict[str, tuple[float, float]] = {}

    def started(self, stage: str) -> None:
        self._last[stage] = time.monotonic()
        self._say(f"{stage}: started")

    def progress(self, stage: str, event: dict[str, Any]) -> None:
        now = time.monotonic()
        share = event["done"] / event["total"] if event["total"] else 1.0
        phase = f"{stage} {event.get('what', '')}"
        begun, share_then = self._begun.setdefault(phase, (now, share))
        if now - self._last.get(stage, 0.0) < _LINE_INTERVAL_S:
            return
        self._last[stage] = now
        left = (now - begun) * (1 - share) / (share - share_then) if share > share_then else None
        tail = f", {left:.0f} s left" if left is not None else ""
        self._say(f"{stage}: {share:.0%} {describe(event)}{tail}")

    def ended(self, stage: str, outcome: str, seconds: float) -> None:
        self._say(f"{stage}: {outcome}" + (f" in {seconds:.1f} s" if outcome == "done" else ""))

    def note(self, text: str) -> None:
        self._say(text)

    def close(self) -> None:
        pass

    def _say(self, text: str) -> None:
        self._console.print(
            f"[{time.monotonic() - self._start:7.1f}s] {text}", markup=False, highlight=False, soft_wrap=True
        )


class _Bars:
    def __init__(self, console: Console) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[metrics]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._progress.start()
        self._tasks: dict[str, Any] = {}

    def started(self, stage: str) -> None:
        self._tasks[stage] = self._progress.add_task(stage, total=None, metrics="")

    def progress(self, stage: str, event: dict[str, Any]) -> None:
        if stage in self._tasks:
            self._progress.update(
                self._tasks[stage], completed=event["done"], total=event["total"], metrics=describe(event)
            )

    def ended(self, stage: str, outcome: str, seconds: float) -> None:
        if stage in self._tasks:
            self._progress.remove_task(self._tasks.pop(stage))
        mark = {"done": "[green]✓[/]", "kept": "[dim]✓[/]"}.get(outcome, "[red]✗[/]")
        took = f"{seconds:.1f} s" if outcome == "done" else outcome
        self._progress.console.print(f"{mark} {stage} [dim]{took}[/]", highlight=False)

    def note(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()
