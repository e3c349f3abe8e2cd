"""Whether a stage that failed is tried again, and when: as long as it gets further, and a few times where it does not.

A run of weeks meets many crashes, each of them long after the one before; a count from the start would end it. A crash
loop at one place ends after `MAX_TRIES`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ulmfit_dist.cluster.plan import PlannedStage

MAX_TRIES = 3
# What was not foreseen is mostly a mistake in the code, the same the next time; one more try tells.
MAX_TRIES_ON_ERROR = 2
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
# What a stage leaves behind as it gets further: a checkpoint's manifest, a work item's receipt.
_MARK = re.compile(r"(step-\d+/manifest|/\d{5})\.json$")


class Retries:
    """The failures of every stage of a run since it last got further."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}
        self._failures: dict[str, int] = {}

    def started(self, stage: PlannedStage) -> None:
        """Note what is there when a stage starts."""
        self._seen.setdefault(stage.name, marks(stage.folder))

    def wait(self, stage: PlannedStage, tries: int) -> float | None:
        """Note a failure; return the seconds until the next try, None when there were `tries` at this place.

        A stage that got further is tried again at once, and counts from one; the others wait 1, 2, 4 ... 60 s.
        """
        found = marks(stage.folder)
        further = not found <= self._seen[stage.name]
        self._seen[stage.name] |= found
        failures = self._failures[stage.name] = 1 if further else self._failures.get(stage.name, 0) + 1
        if further:
            return 0.0
        return None if failures >= tries else min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (failures - 1))


def marks(folder: Path) -> set[str]:
    """Return the checkpoints and receipts below a stage's folder."""
    # os.walk leaves out what vanishes meanwhile: actors of a stage that crashed may still be ending.
    paths = (f"{root}/{name}" for root, _, names in os.walk(folder) for name in names)
    return {path for path in paths if _MARK.search(path)}
