"""When a running training saves and stops: decided by all ranks together, once a step."""

from __future__ import annotations

import time
from enum import Enum

import torch
from torch import Tensor

from ulmfit_dist.training.device import upload
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.stop import STOP


class Request(Enum):
    """What is to be done after a step."""

    NOTHING = "nothing"
    CHECKPOINT = "checkpoint"
    STOP = "stop"


class Pace:
    """One small all-reduce a step carries the loss, the wish to stop or to save (any rank's) and rank 0's clock."""

    def __init__(self, group: Group, checkpoint_seconds: float, checkpoint_steps: int) -> None:
        self._group, self._seconds, self._steps = group, checkpoint_seconds, checkpoint_steps
        self._saved = time.monotonic()
        self._stop = self._due = False

    def agree(self, loss_sum: Tensor, step: int) -> float:
        """Return the sum of the ranks' losses; take note of what is due after this step."""
        return self.note(self.share(loss_sum, step).tolist())

    def share(self, loss_sum: Tensor, step: int) -> Tensor:
        """Return what the ranks have in common after a step, (3,) on the device of the loss, for `note`."""
        due = STOP.take_save() or self._is_due(step)
        wishes = upload([STOP.requested, due], torch.float64, loss_sum.device)
        return self._group.total(torch.cat([loss_sum.double().reshape(1), wishes]))

    def note(self, shared: list[float]) -> float:
        """Take note of what a step that was shared asks for; return the sum of the ranks' losses."""
        total, stop, due = shared
        self._stop, self._due = self._stop or stop > 0, self._due or due > 0
        return total

    @property
    def wanted(self) -> bool:
        """Whether something is to be done."""
        return self._stop or self._due

    def request(self, *, last: bool) -> Request:
        """Return what is to be done now; the last step is always saved, and not stopped at: the work is done."""
        if self._stop and not last:
            return Request.STOP
        if self._due or last:
            self._saved, self._due = time.monotonic(), False
            return Request.CHECKPOINT
        return Request.NOTHING

    def _is_due(self, step: int) -> bool:
        if self._group.rank:
            return False
        by_time = self._seconds > 0 and time.monotonic() - self._saved >= self._seconds
        return by_time or (self._steps > 0 and (step + 1) % self._steps == 0)
