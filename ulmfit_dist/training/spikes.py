"""Loss spikes: steps whose loss stands far above those before them, found from numbers that are read anyway.

How far is said by median and median absolute deviation of the last losses, not by mean and variance: those are moved by
the very spike they should show, and after a large one are blind to the next; the median is not, while spikes are fewer
than half.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Any

_WINDOW = 128  # losses that are looked back on: an epoch's slope moves their median by less than their spread
_FEWEST = 32
_SCORE = 6.0  # in standard deviations: of normal losses one in 1e9 is above
_NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
# Nats a token, a tenth of perplexity: with 512 lanes six deviations are less than what an epoch's first window, read
# without memory, costs.
_RISE = 0.1


@dataclass
class Spikes:
    """The record of one training; `state` and `restore` carry it over a stop. `rows` are the spikes so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    _inside: bool = False

    def add(self, loss: float, **place: Any) -> dict[str, Any] | None:
        """Take a step's loss in nats a token; return the row of a spike that begins with it.

        A row holds `place`, loss, usual (the median before) and score (deviations above it). Later steps of the same
        spike make no rows.
        """
        usual, score = self._usual_and_score(loss)
        self._recent.append(loss)
        before, self._inside = self._inside, score > _SCORE and loss - usual > _RISE
        if before or not self._inside:
            return None
        row = {**place, "loss": loss, "usual": usual, "score": round(score, 1)}
        self.rows.append(row)
        return row

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed training needs."""
        return {"rows": self.rows, "recent": list(self._recent), "inside": self._inside}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.rows, self._inside = state["rows"], state["inside"]
        self._recent = deque(state["recent"], maxlen=_WINDOW)

    def _usual_and_score(self, loss: float) -> tuple[float, float]:
        if len(self._recent) < _FEWEST:
            return loss, 0.0
        usual = median(self._recent)
        deviation = _NORMAL * median(abs(one - usual) for one in self._recent)
        return usual, (loss - usual) / max(deviation, 1e-9)
