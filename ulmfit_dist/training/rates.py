"""The learning-rate range test (Smith 2017, arXiv 1506.01186, section 3.3) in fast.ai's form, and what it suggests.

The rate rises exponentially from step to step until the loss has grown fourfold; the loss over it shows from which
rate on a step trains, and from which on it does harm.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, model_validator

from ulmfit_dist.config import Settings
from ulmfit_dist.errors import StoppedError
from ulmfit_dist.events import Reporter, Silent
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.device import cpu_threads
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.groups import train_top_groups
from ulmfit_dist.training.lm import LMData, LMTrainer, LMTrainingSettings, Surroundings
from ulmfit_dist.training.plan import Position
from ulmfit_dist.training.stop import STOP
from ulmfit_dist.training.windows import DeviceWindow

# fastai 2's numbers: the smoothed loss keeps 0.98 of itself at each step, and ends the test at four times its lowest.
_SMOOTHING = 0.98
_DIVERGED = 4.0
# What suggestions leave out: the first tenth of the planned steps, in which little is averaged, and the last five.
_FIRST_SHARE, _LAST = 10, 5


class SweepSettings(Settings):
    """Which rates are tried; the rate is that of the top layer group, as `training.lr` is."""

    lowest: float = Field(default=1e-7, gt=0, description="rate of the first step")
    highest: float = Field(default=10.0, gt=0, description="rate of the last step")
    steps: int = Field(default=100, ge=20, description="steps from one to the other")
    frozen: bool = Field(default=False, description="train the decoder alone, as frozen_epochs do")

    @model_validator(mode="after")
    def _upwards(self) -> SweepSettings:
        if self.lowest >= self.highest:
            msg = f"lowest ({self.lowest:g}) is not below highest ({self.highest:g})"
            raise ValueError(msg)
        return self

    def rate(self, step: int) -> float:
        """Return the rate of a step (from 0): equal factors from step to step."""
        return float(self.lowest * (self.highest / self.lowest) ** (step / (self.steps - 1)))


class Point(NamedTuple):
    """A step: its rate, its loss in nats a token, and the smoothed loss after it."""

    lr: float
    loss: float
    smoothed: float


@dataclass
class Sweep:
    """The steps of a test, and what ended it: the highest rate, a smoothed loss of four times its lowest, or no number.

    A step without a finite loss and gradient is no point.
    """

    planned: int
    points: list[Point] = field(default_factory=list)
    ended: Literal["highest rate", "loss diverged", "loss is no number"] = "highest rate"
    _average: float = 0.0

    def add(self, lr: float, loss: float) -> bool:
        """Take a step in; return whether the loss has diverged."""
        self._average = _SMOOTHING * self._average + (1 - _SMOOTHING) * loss
        # Corrected for its start at 0, as Adam's averages are.
        self.points.append(Point(lr, loss, self._average / (1 - _SMOOTHING ** (len(self.points) + 1))))
        if self.points[-1].smoothed <= _DIVERGED * min(point.smoothed for point in self.points):
            return False
        self.ended = "loss diverged"
        return True

    def suggestions(self) -> dict[str, float | None]:
        """Return {"valley", "steepest"}: a rate each, or None where the loss never fell."""
        kept = self.points[self.planned // _FIRST_SHARE : -_LAST]
        rates, losses = [point.lr for point in kept], [point.smoothed for point in kept]
        return {"valley": valley(rates, losses), "steepest": steepest(rates, losses)}

    def as_json(self) -> dict[str, Any]:
        """Return what lr-find.json holds."""
        points = [point._asdict() for point in self.points]
        return {"suggestions": self.suggestions(), "ended": self.ended, "points": points}


def sweep_rates(
    model: LanguageModel, data: LMData, settings: LMTrainingSettings, sweep: SweepSettings, reporter: Reporter
) -> Sweep:
    """Train a copy of the model with rising rates; the model itself stays as it is. On one rank, with every lane.

    Everything but the rate is as in `train_lm`: order of the text, windows, dropout, optimizer, clipping.
    Raises InputError for data that do not fit, StoppedError when a stop is requested: nothing is kept then.
    """
    one_epoch = max(1, data.train.num_tokens // settings.num_lanes // (2 * settings.bptt))
    epochs = {"epochs": -(-sweep.steps // one_epoch), "frozen_epochs": 0}
    surroundings = Surroundings(Group.single(), CheckpointFolder(Path()), Silent())
    with cpu_threads(settings.cpu_threads):
        trainer = LMTrainer(copy.deepcopy(model), data, settings.model_copy(update=epochs), surroundings)
        groups = trainer.layer_groups
        trainer.step.train_only(train_top_groups(groups, 1 if sweep.frozen else len(groups)))
        return _sweep(trainer, sweep, reporter)


def valley(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the rate in the middle of the longest valley, fast.ai's default suggestion; None where nothing falls.

    The valley is the longest subsequence of falling losses (the first to end, of several): with L losses up to index e,
    the suggestion is at index e - L + floor(L / 3) + floor(L / 6), in the middle of its second third.
    """
    lengths = np.ones(len(losses), dtype=np.int64)
    values = np.asarray(losses)
    for index in range(1, len(values)):
        longer = lengths[:index][values[:index] > values[index]]
        lengths[index] = 1 + (longer.max() if len(longer) else 0)
    if not len(lengths) or (longest := int(lengths.max())) == 1:
        return None
    return rates[max(int(lengths.argmax()) - longest + longest // 3 + longest // 6, 0)]


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the rate from which the loss falls most to the next, a unit of log rate; None where nothing falls."""
    if len(losses) < 2:
        return None
    slopes = np.diff(losses) / np.diff(np.log(rates))
    return rates[int(slopes.argmin())] if slopes.min() < 0 else None


def _sweep(trainer: LMTrainer, settings: SweepSettings, reporter: Reporter) -> Sweep:
    found = Sweep(settings.steps)
    for index, (position, window) in enumerate(islice(_windows(trainer), settings.steps)):
        if STOP.requested:
            raise StoppedError(
                "the learning-rate test was stopped by request",
                found=f"after {index} of {settings.steps} steps",
                do="run the same command again; it begins anew",
            )
        lr = settings.rate(index)
        trainer.set_rate(lr, position)
        gradients = trainer.step.gradients(index, window)
        loss = float(gradients.loss_sum) / window.num_valid
        if not math.isfinite(loss) or not math.isfinite(float(gradients.norm)):
            found.ended = "loss is no number"
            break
        diverged = found.add(lr, loss)
        reporter.progress(index + 1, settings.steps, loss=found.points[-1].smoothed, lr=lr)
        if diverged:
            break
        trainer.step.update(trainer.optimizer, torch.isfinite(gradients.norm))
    return found


def _windows(trainer: LMTrainer) -> Iterator[tuple[Position, DeviceWindow]]:
    for epoch in range(trainer.plan.num_epochs):
        trainer.step.reset_state()
        yield from trainer.windows(epoch)
