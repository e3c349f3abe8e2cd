"""What a language model's training will do, step by step, from sizes and settings alone: no data, no model."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ulmfit_dist.corpus.lanes import window_lengths

# Jittered windows begin at multiples of this: their lengths are then few (about 20), and a GPU's kernels are recorded
# and chosen once a length.
_WINDOW_GRID = 5


@dataclass(frozen=True)
class Position:
    """One step: which window of which epoch, and where it starts in every lane."""

    step: int
    epoch: int
    start: int
    length: int
    last_of_epoch: bool


@dataclass(frozen=True)
class Phase:
    """Consecutive epochs under one schedule, with the highest rate and the number of top groups that are trained."""

    epochs: int
    lr: float
    trained_groups: int


@dataclass(frozen=True)
class WindowPlan:
    """How an epoch's lanes are cut into windows."""

    lane_length: int
    bptt: int
    jitter: bool
    seed: int


class TrainingPlan:
    """Every step of a training. Any step is found without going through those before it."""

    def __init__(self, windows: WindowPlan, phases: Sequence[Phase]) -> None:
        self.phases = [phase for phase in phases if phase.epochs]
        self.num_epochs = sum(phase.epochs for phase in self.phases)
        self._ends = [_window_ends(windows, epoch) for epoch in range(self.num_epochs)]
        self._first_steps = np.cumsum([0, *(len(ends) for ends in self._ends)]).tolist()
        self.total_steps: int = self._first_steps[-1]

    @property
    def longest_window(self) -> int:
        """Return the tokens a lane of the longest window."""
        return max(int(np.diff(ends, prepend=0).max()) for ends in self._ends)

    def position(self, step: int) -> Position:
        """Return where a step (from 0) stands."""
        epoch = self._epoch(step)
        ends, window = self._ends[epoch], step - self._first_steps[epoch]
        start = int(ends[window - 1]) if window else 0
        return Position(step, epoch, start, int(ends[window]) - start, window == len(ends) - 1)

    def epoch_positions(self, epoch: int, from_step: int = 0) -> Iterator[Position]:
        """Yield the positions of an epoch that are not before `from_step`."""
        first, end = self._first_steps[epoch], self._first_steps[epoch + 1]
        # One by one: an epoch of a billion tokens has 230,000 of them, 60 MB.
        return (self.position(step) for step in range(max(first, from_step), end))

    def phase(self, step: int) -> tuple[Phase, int, int]:
        """Return the phase of a step, the step within it, and the phase's number of steps."""
        epoch, first_epoch = self._epoch(step), 0
        for phase in self.phases:
            end_epoch = first_epoch + phase.epochs
            if epoch < end_epoch:
                first = self._first_steps[first_epoch]
                return phase, step - first, self._first_steps[end_epoch] - first
            first_epoch = end_epoch
        raise IndexError(step)

    def epoch_of(self, step: int) -> int:
        """Return the epoch that a step belongs to; the number of epochs for the step after the last."""
        return self.num_epochs if step >= self.total_steps else self._epoch(step)

    def _epoch(self, step: int) -> int:
        return bisect_right(self._first_steps, step) - 1


def _window_ends(windows: WindowPlan, epoch: int) -> np.ndarray:
    """Where each window of an epoch ends; with jitter at the nearest multiple of the grid, the last at the end."""
    ends = np.cumsum(window_lengths(windows.lane_length, windows.bptt, windows.jitter, windows.seed, epoch))
    if not windows.jitter:
        return ends
    inner = (ends[:-1] + _WINDOW_GRID // 2) // _WINDOW_GRID * _WINDOW_GRID
    return np.unique(np.append(inner[(inner > 0) & (inner < windows.lane_length)], windows.lane_length))
