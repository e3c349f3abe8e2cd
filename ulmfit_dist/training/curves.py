"""The curves of a training: points at a fixed spacing of steps, and one row of measures an epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ulmfit_dist.training.spikes import Spikes


@dataclass(frozen=True)
class StepResult:
    """What one step gives to the curves; `loss_sum` in nats over `count` targets."""

    step: int
    epoch: int
    loss_sum: float
    count: int
    lr: float
    gradient_norm: float


@dataclass
class Curves:
    """Points and rows, with what has gathered since the last point; `state` and `restore` carry it over a stop.

    `spikes` are a language model's; they are no part of `as_json`.
    """

    every: int
    points: list[dict[str, Any]] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    spikes: Spikes = field(default_factory=Spikes)
    done: int = 0
    _loss_sum: float = 0.0
    _count: int = 0
    _since: float = field(default_factory=time.monotonic)
    _speed_count: int = 0
    _last_speed: float = 0.0

    @classmethod
    def spaced(cls, total_steps: int, num_points: int) -> Curves:
        """Return empty curves with about `num_points` points over the whole training."""
        return cls(max(1, total_steps // max(num_points, 1)))

    def add(self, result: StepResult) -> dict[str, Any] | None:
        """Take a step in; return a new point when one is due.

        A point holds step, epoch, tokens (targets so far), loss (mean since the last point), lr, gradient_norm and
        tokens_per_s (of this process's clock: the only number here that differs from run to run).
        """
        self.done += result.count
        self._loss_sum += result.loss_sum
        self._count += result.count
        self._speed_count += result.count
        if (result.step + 1) % self.every:
            return None
        self._last_speed = self._speed_count / max(time.monotonic() - self._since, 1e-9)
        point = {
            "step": result.step + 1,
            "epoch": result.epoch,
            "tokens": self.done,
            "loss": self._loss_sum / self._count,
            "lr": result.lr,
            "gradient_norm": result.gradient_norm,
            "tokens_per_s": round(self._last_speed, 1),
        }
        self.points.append(point)
        self._loss_sum, self._count = 0.0, 0
        self.restart_clock()
        return point

    def speed(self) -> float:
        """Return targets a second since the last point, or the point's own in the second after it."""
        seconds = time.monotonic() - self._since
        if seconds < 1.0 and self._last_speed:
            return self._last_speed
        return self._speed_count / max(seconds, 1e-9)

    def restart_clock(self) -> None:
        """Start the clock of tokens_per_s again: after a point, and after work that is not training."""
        self._since, self._speed_count = time.monotonic(), 0

    def as_json(self) -> dict[str, Any]:
        """Return what curves.json holds."""
        return {"points": self.points, "epochs": self.epochs}

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed training needs."""
        counted = {"done": self.done, "loss_sum": self._loss_sum, "count": self._count}
        return {**self.as_json(), "spikes": self.spikes.state(), **counted}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.points, self.epochs, self.done = state["points"], state["epochs"], state["done"]
        self._loss_sum, self._count = state["loss_sum"], state["count"]
        self.spikes.restore(state["spikes"])
        self.restart_clock()
