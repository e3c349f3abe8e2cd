"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How much a finding matters: `good`, `warning` (works, at a cost that is said), `blocks` (something will fail)."""

    GOOD = "good"
    WARNING = "warning"
    BLOCKS = "blocks"


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, what was found, how much it matters, the cure, the node if not this machine."""

    subject: str
    found: str
    level: Level = Level.GOOD
    do: str = ""
    node: str = ""

    @property
    def good(self) -> bool:
        """Whether there is nothing to do."""
        return self.level is Level.GOOD

    def as_json(self) -> dict[str, Any]:
        """Return the finding for programs; a good one needs no cure."""
        return {**vars(self), "good": self.good, "do": "" if self.good else self.do}


def judged(subject: str, found: str, *, good: bool, do: str, otherwise: Level = Level.BLOCKS) -> Finding:
    """Return a finding that is good or `otherwise`."""
    return Finding(subject, found, Level.GOOD if good else otherwise, do)
