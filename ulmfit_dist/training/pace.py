"""When a running training saves and stops: decided by all ranks together, once a step."""

from __future__ import annotations

import time
from enum import Enum

import torch
from torch import Tensor

from ulmfit_dist.training.group import Group
from ulmfit_dist.training.stop import STOP


class Request(Enum):
    """What is to be done after a step."""

    NOTHING = "nothing"
    CHECKPOINT = "checkpoint"
    STOP = "stop"


class Pace:
    """One small all-reduce a step carries the loss, the wish to stop (any rank's) and rank 0's clock."""

    def __init__(self, group: Group, checkpoint_seconds: float, checkpoint_steps: int) -> None:
        self._group, self._seconds, self._steps = group, checkpoint_seconds, checkpoint_steps
        self._saved = time.monotonic()
        self._stop = self._due = False

    def agree(self, loss_sum: Tensor, step: int) -> float:
        """Return the sum of the ranks' losses; take note of what is due after this step."""
        wishes = torch.tensor([STOP.requested, self._is_due(step)], dtype=torch.float64, device=loss_sum.device)
        shared = self._group.total(torch.cat([loss_sum.double().reshape(1), wishes]))
        total, stop, due = shared.tolist()
        self._stop, self._due = stop > 0, due > 0
        return float(total)

    def request(self, *, last: bool) -> Request:
        """Return what is to be done now; the last step is always saved, and not stopped at: the work is done."""
        if self._stop and not last:
            return Request.STOP
        if self._due or last:
            self._saved = time.monotonic()
            return Request.CHECKPOINT
        return Request.NOTHING

    def _is_due(self, step: int) -> bool:
        if self._group.rank:
            return False
        by_time = self._seconds > 0 and time.monotonic() - self._saved >= self._seconds
        return by_time or (self._steps > 0 and (step + 1) % self._steps == 0)
