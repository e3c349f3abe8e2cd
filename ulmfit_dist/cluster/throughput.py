"""How fast each node works, from what its actors finished: for progress lines and for the stage's events."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_SHOWN = 4
_MEGA = 1e6


class Ran(NamedTuple):
    """Where one item was done, by which process, and how long that took."""

    node: str
    pid: int
    seconds: float


@dataclass
class _Node:
    began: float
    ended: float = 0.0
    items: int = 0
    size: float = 0.0
    pids: set[int] = field(default_factory=set)

    @property
    def per_second(self) -> float:
        return self.size / max(self.ended - self.began, 1e-9)


class Throughput:
    """Sizes of finished items a node, over the time from its first item's start to its last one's end.

    unit: what a size counts, e.g. "characters".
    """

    def __init__(self, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._unit, self._clock = unit, clock
        self._nodes: dict[str, _Node] = {}

    def add(self, ran: Ran, size: float) -> None:
        """Count an item that has just ended."""
        now = self._clock()
        node = self._nodes.setdefault(ran.node, _Node(now - ran.seconds))
        node.began, node.ended = min(node.began, now - ran.seconds), now
        node.items += 1
        node.size += size
        node.pids.add(ran.pid)

    def as_dict(self) -> dict[str, Any]:
        """Return {node: {actors, items, <unit>, seconds, <unit>_per_second}}, sorted by node, for an event."""
        return {
            name: {
                "actors": len(node.pids),
                "items": node.items,
                self._unit: node.size,
                "seconds": round(node.ended - node.began, 3),
                f"{self._unit}_per_second": round(node.per_second, 1),
            }
            for name, node in sorted(self._nodes.items())
        }

    def line(self) -> str:
        """Return "24.6 M characters/s; n1: 12.3 M, 4 actors; ...": the slowest nodes first, a few of them."""
        slowest = sorted(self._nodes.items(), key=lambda entry: (entry[1].per_second, entry[0]))
        total = sum(node.per_second for node in self._nodes.values())
        parts = [f"{total / _MEGA:.2f} M {self._unit}/s"]
        parts += [f"{name}: {node.per_second / _MEGA:.2f} M, {_actors(node)}" for name, node in slowest[:_SHOWN]]
        if len(slowest) > _SHOWN:
            parts.append(f"{len(slowest) - _SHOWN} more nodes")
        return "; ".join(parts)


def _actors(node: _Node) -> str:
    return f"{len(node.pids)} actor" + ("s" if len(node.pids) > 1 else "")
