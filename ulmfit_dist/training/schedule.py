"""Learning-rate schedules: pure functions of (step, total)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from pydantic import Field

from ulmfit_dist.config import Settings

_LONGEST_CUT = 0.3


class SchedulePoint(NamedTuple):
    """Where a schedule stands: the share of the highest rate, and Adam's beta1 if the schedule moves it."""

    lr_factor: float
    beta1: float | None = None


class Schedule(Settings):
    """Which schedule, and its numbers; the defaults are the paper's."""

    kind: Literal["slanted_triangular", "one_cycle", "constant"] = "slanted_triangular"
    cut_frac: float = Field(default=0.1, gt=0, lt=1, description="slanted triangular: share of the steps that rise")
    cut_steps: int = Field(
        default=0, ge=0, description="slanted triangular: rise for so many steps at least, in 3 of 10 steps at most"
    )
    ratio: float = Field(default=32, ge=1, description="slanted triangular: highest rate over lowest")
    rise_frac: float = Field(default=0.3, gt=0, lt=1, description="one cycle: share of the steps that rise")
    div: float = Field(default=25, ge=1, description="one cycle: highest rate over the first")
    final_div: float = Field(default=2.5e5, ge=1, description="one cycle: highest rate over the last")
    momentum: tuple[float, float] | None = Field(
        default=None, description="one cycle: Adam's beta1 at the ends and at the top, e.g. [0.8, 0.7]"
    )
    warmup_frac: float = Field(default=0.0, ge=0, lt=1, description="constant: share of the steps that rise from 0")

    def at(self, step: int, total: int) -> SchedulePoint:
        """Return the point of `step` (from 0) out of `total`."""
        if self.kind == "slanted_triangular":
            cut_frac = max(self.cut_frac, min(_LONGEST_CUT, self.cut_steps / total))
            return SchedulePoint(slanted_triangular(1.0, step, total, cut_frac, self.ratio))
        if self.kind == "constant":
            return SchedulePoint(constant_warmup(1.0, step, total, self.warmup_frac))
        top = max(1, math.floor(total * self.rise_frac))
        rising = step < top
        part = step / top if rising else (step - top) / max(1, total - top)
        start, end = (1 / self.div, 1.0) if rising else (1.0, 1 / self.final_div)
        if self.momentum is None:
            return SchedulePoint(cosine(start, end, part))
        outer, inner = self.momentum
        beta1 = cosine(outer, inner, part) if rising else cosine(inner, outer, part)
        return SchedulePoint(cosine(start, end, part), beta1)


def slanted_triangular(lr_max: float, step: int, total: int, cut_frac: float = 0.1, ratio: float = 32) -> float:
    """Return the rate of paper equation 3.

    The equation rounds the cut down but not the tail, so with few steps its last ones fall below lr_max / ratio and
    then below zero: they stay at lr_max / ratio here.
    """
    cut = max(1, math.floor(total * cut_frac))
    p = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / cut_frac - 1))
    return lr_max * (1 + max(p, 0.0) * (ratio - 1)) / ratio


def one_cycle(lr_max: float, step: int, total: int, schedule: Schedule | None = None) -> float:
    """Return the rate of the one-cycle schedule with cosine sides (fastai v1 `fit_one_cycle`)."""
    settings = schedule or Schedule(kind="one_cycle")
    return lr_max * settings.at(step, total).lr_factor


def constant_warmup(lr_max: float, step: int, total: int, warmup_frac: float = 0.0) -> float:
    """Return a constant rate after a linear rise over the first share of the steps; the first step is not zero."""
    warmup = math.floor(total * warmup_frac)
    return lr_max * min(1.0, (step + 1) / (warmup + 1))


def cosine(start: float, end: float, part: float) -> float:
    """Go from start to end along half a cosine; part in [0, 1]."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
