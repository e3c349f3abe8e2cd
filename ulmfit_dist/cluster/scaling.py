"""Asking an autoscaling cluster for the GPUs that stages wait for.

Ray's autoscaler sees what tasks and actors ask for, but a stage is not started before its GPUs are there, so a pool at
zero would stay at zero. Therefore the autoscaler is told of the stages that are ready. What it is told holds for the
whole cluster until the next request: it is repeated, since another run may have replaced it, and taken back at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ray.autoscaler.sdk import request_resources

from ulmfit_dist.cluster.ledger import Capacity

_REPEAT_S = 30.0
_Bundles = list[dict[str, float]]


class Growth:
    """What one run has asked its cluster for. `seconds`: how long nodes may take to come; 0 asks for nothing."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._asked: _Bundles = []
        self._asked_at = self._since = -math.inf

    @property
    def possible(self) -> bool:
        """Whether the cluster may have more GPUs later than it has now."""
        return self._seconds > 0

    def ask(self, needs: Sequence[Capacity], now: float) -> None:
        """Ask for room for all of these stages together, those that run included."""
        if not self.possible:
            return
        wanted = bundles(needs)
        if wanted != self._asked or (wanted and now - self._asked_at >= _REPEAT_S):
            self._since = self._since if self._asked and wanted else now
            self._asked, self._asked_at = wanted, now
            request_resources(bundles=wanted)

    def came_to_nothing(self, now: float) -> bool:
        """Whether what was asked for should have come by now."""
        return now - self._since > self._seconds

    def withdraw(self) -> None:
        """Let the autoscaler take idle nodes away again."""
        if self._asked:
            self._asked = []
            request_resources(bundles=[])


def bundles(needs: Sequence[Capacity]) -> _Bundles:
    """Return what Ray is asked for: for each GPU of a stage one bundle, with its share of the stage's CPUs."""
    found: _Bundles = []
    for need in needs:
        pieces = math.ceil(need.gpus)
        found += [{"CPU": need.cpus / pieces, "GPU": need.gpus / pieces}] * pieces
    return found
