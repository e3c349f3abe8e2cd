"""Several runs on one cluster: who may start what, so that none starves and no GPU is promised twice.

Ray's own count of free resources does not say it: a trainer's ranks take theirs some ten seconds after the coordinator
has decided, and meanwhile every other run would see them as free. So the runs of one cluster share a small board, an
actor that lives as long as the run that made it. It holds no truth: each call tells all that its run holds, so a new
board knows everything again after one call of each run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray
from ray.exceptions import GetTimeoutError, RayError

from ulmfit_dist.cluster.ledger import NOTHING, Capacity

# The number is the protocol's: runs of another version of it would misread each other.
_BOARD_NAME, _NAMESPACE = "ulmfit-board-1", "ulmfit"
_ANSWER_S = 10.0
SILENT_S = 30.0
NEW_BOARD_S = 2.0
LONG_WAIT_S = 60.0

Needs = Mapping[str, tuple[float, float]]


class Permits(Protocol):
    """Says which of the stages that would fit may start."""

    def ask(self, held: Needs, wanted: Needs, total: Capacity, /) -> list[str]:
        """Return the names of the stages that may start now.

        held: (CPUs, GPUs) of every stage that runs; wanted: of those that would start, most urgent first.
        """

    def leave(self) -> None:
        """The run is over."""


class Alone:
    """The permits of a run that has its cluster for itself."""

    def ask(self, _held: Needs, wanted: Needs, _total: Capacity, /) -> list[str]:
        """Return all that is wanted."""
        return list(wanted)

    def leave(self) -> None:
        """Do nothing."""


class Shared:
    """The permits of one of the runs on the joined cluster, from their common board."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._board: Any = None

    def ask(self, held: Needs, wanted: Needs, total: Capacity, /) -> list[str]:
        """Ask the board; one that has died with the run that made it is made anew, and permits nothing at first."""
        try:
            if self._board is None:
                named = {"name": _BOARD_NAME, "namespace": _NAMESPACE, "get_if_exists": True}
                self._board = ray.remote(_Board).options(num_cpus=0, **named).remote()
            reference = self._board.ask.remote(self._run, dict(held), dict(wanted), tuple(total))
            return list(ray.get(reference, timeout=_ANSWER_S))
        except (RayError, GetTimeoutError, ValueError):
            self._board = None
            return []

    def leave(self) -> None:
        """Tell the board, if it still lives."""
        if self._board is not None:
            self._board.leave.remote(self._run)


@dataclass
class _Run:
    held: dict[str, Capacity] = field(default_factory=dict)
    refused: list[Capacity] = field(default_factory=list)
    heard: float = 0.0
    waits_since: float = math.inf

    def taken(self) -> Capacity:
        return Capacity(*(math.fsum(column) for column in zip(NOTHING, *self.held.values(), strict=True)))


class Shares:
    """What each run holds, and the rule by which the next stages start.

    A run may take all that is free. But where another one is refused a stage within its share (the cluster divided by
    the number of runs), nobody starts anything above the own share. And a run that has none of the GPUs (or CPUs) and
    got nothing for a minute, because its stage is larger than a share, has the next ones that become free.
    """

    def __init__(self, now: float) -> None:
        self._born = now
        self._runs: dict[str, _Run] = {}

    def ask(self, name: str, held: Needs, wanted: Needs, total: Capacity, now: float) -> list[str]:
        """Return which of the wanted stages the run may start; they count as held from now on."""
        run = self._runs.setdefault(name, _Run())
        run.heard, run.held = now, {stage: Capacity(*need) for stage, need in held.items()}
        self._runs = {key: other for key, other in self._runs.items() if now - other.heard <= SILENT_S}
        granted = []
        for stage, need in wanted.items():
            if self._may_start(name, Capacity(*need), total, now):
                run.held[stage] = Capacity(*need)
                granted.append(stage)
        run.refused = [Capacity(*need) for stage, need in wanted.items() if stage not in granted]
        if granted or not run.refused:
            run.waits_since = math.inf
        if run.refused:
            run.waits_since = min(run.waits_since, now)
        return granted

    def leave(self, name: str) -> None:
        """Forget a run that has ended."""
        self._runs.pop(name, None)

    def _may_start(self, name: str, need: Capacity, total: Capacity, now: float) -> bool:
        free = total
        for run in self._runs.values():
            free = free.minus(run.taken())
        # What other runs hold, a new board has yet to be told of.
        if now - self._born < NEW_BOARD_S or not free.holds(need):
            return False
        others = [run for key, run in self._runs.items() if key != name]
        # A stage that waits for GPUs is not kept waiting by CPUs: those are for the others until then.
        cpus = [[refused.cpus for refused in run.refused if refused.gpus <= free.gpus] for run in others]
        gpus = [[refused.gpus for refused in run.refused if refused.gpus] for run in others]
        for kind, missing in enumerate((cpus, gpus)):
            for run, least in zip(others, missing, strict=True):
                if need[kind] and least:
                    share = total[kind] / len(self._runs)
                    turns = [(one.taken()[kind], now - one.waits_since) for one in (self._runs[name], run)]
                    if not _is_fair(need[kind], min(least), share, turns):
                        return False
        return True


def _is_fair(need: float, theirs: float, share: float, turns: list[tuple[float, float]]) -> bool:
    """Whether one run may take `need` while another is refused `theirs`, both of one kind of resource.

    turns: of the one and of the other, what it holds and for how many seconds it has got nothing.
    """
    (mine_held, mine_waited), (their_held, they_waited) = turns
    if mine_held == 0 and mine_waited >= max(LONG_WAIT_S, they_waited):
        return True
    if their_held == 0 and they_waited >= LONG_WAIT_S:
        return False
    return mine_held + need <= share or their_held + theirs > share


class _Board:
    """The shares as an actor. Clock and content are its own, so the runs' clocks need not agree."""

    def __init__(self) -> None:
        self._shares = Shares(time.monotonic())

    @ray.method
    def ask(self, run: str, held: Needs, wanted: Needs, total: tuple[float, float]) -> list[str]:
        return self._shares.ask(run, held, wanted, Capacity(*total), time.monotonic())

    @ray.method
    def leave(self, run: str) -> None:
        self._shares.leave(run)
