"""The ledger: which stages start next, by what each needs, what is free and how long the way to the end is.

It knows neither Ray nor the clock, so that a cluster of any size can be simulated (tests/bench/bench_ledger.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from ulmfit_dist.cluster.plan import STAGES_FOLDER, Plan, PlannedStage
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import LABEL_MARK, RECORD_NAME

_ROUNDING = 1e-6  # fractions of a CPU or GPU add up with rounding


class Capacity(NamedTuple):
    """CPUs and GPUs: what a cluster has, what is free of it, or what a stage needs."""

    cpus: float
    gpus: float

    def holds(self, need: Capacity) -> bool:
        """Whether there is room for this need."""
        return need.cpus <= self.cpus + _ROUNDING and need.gpus <= self.gpus + _ROUNDING

    def plus(self, other: Capacity) -> Capacity:
        """Return both together."""
        return Capacity(self.cpus + other.cpus, self.gpus + other.gpus)

    def minus(self, other: Capacity) -> Capacity:
        """Return what is left without the other."""
        return Capacity(self.cpus - other.cpus, self.gpus - other.gpus)


NOTHING = Capacity(0.0, 0.0)


class _Place(NamedTuple):
    """A place kept for a stage that does not fit yet: when its room is free, and what is free beside it then."""

    moment: float
    beside: Capacity


class Ledger:
    """The progress of one plan on a cluster, whose size `total` may change meanwhile.

    seconds: what each stage is expected to take. Longest way to the end first, with two corrections. While GPUs lie
    idle and no stage wants them, the stages that lead to GPU work soonest come first (with a hundred languages in one
    plan the longest way means every ingest before the first tokenizer, and no training until all are read). And the
    first stage that does not fit gets the next room: later ones start only where they do not hold it up.
    """

    def __init__(self, plan: Plan, seconds: Mapping[str, float], total: Capacity = NOTHING) -> None:
        self._plan, self._seconds = plan, seconds
        self.total = total
        self.finished: set[str] = set()
        self.failed: set[str] = set()
        self.blocked: set[str] = set()
        self._running: dict[str, float] = {}
        self._held: dict[str, float] = {}
        self._missing = {stage.name: set(stage.upstream) for stage in plan.stages.values()}
        self._children: dict[str, list[str]] = {name: [] for name in plan.stages}
        for stage in plan.stages.values():
            for name in stage.upstream:
                self._children[name].append(stage.name)
        self._ready = {name for name, missing in self._missing.items() if not missing}
        self._way, self._to_gpu = self._ways()

    def need(self, stage: PlannedStage) -> Capacity:
        """Return what a stage takes; one that asks for more CPUs than there are takes them all."""
        return Capacity(min(stage.spec.cpus, self.total.cpus), stage.spec.gpus)

    def choose(self, now: float) -> list[PlannedStage]:
        """Return the stages to start in what is free, most urgent first. `started` books them."""
        room = self.free()
        able = [self._plan.stages[name] for name in self._ready if self._held.get(name, now) <= now]
        idle_gpus = room.gpus > _ROUNDING and not any(stage.spec.gpus for stage in able)
        chosen: list[PlannedStage] = []
        place: _Place | None = None
        for stage in sorted(able, key=lambda stage: self._urgency(stage, idle_gpus=idle_gpus)):
            need = self.need(stage)
            if not room.holds(need):
                place = place or self._place(need, now, room)
                continue
            if place is not None and now + self._seconds[stage.name] > place.moment:
                if not place.beside.holds(need):
                    continue
                place = place._replace(beside=place.beside.minus(need))
            room = room.minus(need)
            chosen.append(stage)
        return chosen

    def free(self) -> Capacity:
        """Return what the running stages leave of the cluster."""
        taken = self.needs().values()
        cpus, gpus = (math.fsum(column) for column in zip(NOTHING, *taken, strict=True))
        return self.total.minus(Capacity(cpus, gpus))

    def needs(self) -> dict[str, Capacity]:
        """Return what each running stage holds: CPUs and GPUs."""
        return {name: self.need(self._plan.stages[name]) for name in self._running}

    def ready(self) -> list[PlannedStage]:
        """Return the stages that wait for nothing but room."""
        return [self._plan.stages[name] for name in sorted(self._ready)]

    def gpu_needs(self) -> list[Capacity]:
        """Return what each stage needs that runs on GPUs, or could if they were there."""
        stages = (self._plan.stages[name] for name in sorted({*self._ready, *self._running}))
        return [Capacity(stage.spec.cpus, stage.spec.gpus) for stage in stages if stage.spec.gpus]

    def started(self, name: str, now: float) -> None:
        """Book a stage's resources."""
        self._ready.discard(name)
        self._held.pop(name, None)
        self._running[name] = now

    def done(self, name: str) -> None:
        """Note that a stage is finished: its resources are free and its dependents may be ready."""
        self._running.pop(name, None)
        self._ready.discard(name)
        self.finished.add(name)
        for child in self._children[name]:
            self._missing[child].discard(name)
            if not self._missing[child] and child not in self.finished and child not in self.blocked:
                self._ready.add(child)

    def again(self, name: str, moment: float) -> None:
        """Note that a try ended without a result: the stage may start again from this moment on."""
        self._running.pop(name, None)
        self._held[name] = moment
        self._ready.add(name)

    def give_up(self, name: str) -> set[str]:
        """Note that a stage failed for good; return the stages that are blocked by it and were not before."""
        self._running.pop(name, None)
        self.failed.add(name)
        fresh: set[str] = set()
        stack = [name]
        while stack:
            for child in self._children[stack.pop()]:
                if child not in self.blocked:
                    self.blocked.add(child)
                    fresh.add(child)
                    stack.append(child)
        self._ready -= self.blocked
        return fresh

    def waits(self) -> bool:
        """Whether a stage could start now or later, given room."""
        return bool(self._ready)

    def reached_an_end(self) -> bool:
        """Whether a stage that no other one needs is finished."""
        return any(not self._children[name] for name in self.finished)

    def _urgency(self, stage: PlannedStage, *, idle_gpus: bool) -> tuple[float, float, str]:
        return (self._to_gpu[stage.name] if idle_gpus else 0.0, -self._way[stage.name], stage.name)

    def _place(self, need: Capacity, now: float, room: Capacity) -> _Place:
        """Return when the running stages leave this room, as far as one can tell."""
        moment = now
        for end, name in sorted((max(now, began + self._seconds[n]), n) for n, began in self._running.items()):
            moment, room = end, room.plus(self.need(self._plan.stages[name]))
            if room.holds(need):
                return _Place(moment, room.minus(need))
        # Another run holds what is missing: nobody here can say until when, and waiting for it would be idle.
        return _Place(math.inf, NOTHING)

    def _ways(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return each stage's seconds to the end, itself included, and to the next GPU stage, itself included."""
        way: dict[str, float] = {}
        to_gpu: dict[str, float] = {}
        for stage in reversed(self._plan.stages.values()):
            children, own = self._children[stage.name], self._seconds[stage.name]
            way[stage.name] = own + max((way[child] for child in children), default=0.0)
            below = min((to_gpu[child] for child in children), default=math.inf)
            to_gpu[stage.name] = 0.0 if stage.spec.gpus else own + below
        return way, to_gpu


def expected_seconds(plan: Plan, run_dir: Path) -> dict[str, float]:
    """Return what each stage should take: what a stage of its name took in this run directory, else one of its kind.

    A kind that was never run counts as the mean of the others; with no past at all every stage counts one second.
    """
    by_name: dict[str, list[float]] = {}
    by_kind: dict[str, list[float]] = {}
    for path in sorted((run_dir / STAGES_FOLDER).glob(f"*/{RECORD_NAME}")):
        record = read_json(path)
        by_name.setdefault(_without_fingerprint(path.parent), []).append(record["seconds"])
        by_kind.setdefault(record["kind"], []).append(record["seconds"])
    usual = _mean(took for past in by_kind.values() for took in past) if by_kind else 1.0

    def guess(stage: PlannedStage) -> float:
        past = by_name.get(stage.name.partition(LABEL_MARK)[0]) or by_kind.get(stage.spec.kind)
        return _mean(past) if past else usual

    return {name: guess(stage) for name, stage in plan.stages.items()}


def _without_fingerprint(folder: Path) -> str:
    return folder.name.rpartition("-")[0]


def _mean(values: Iterable[float]) -> float:
    return max(1e-3, fmean(values))
