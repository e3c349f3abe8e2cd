"""The scheduler: runs a plan's missing stages on Ray, as many at a time as CPUs and GPUs allow.

A stage is a Ray task; a trainer or pool stage holds nothing itself but the ledger reserves what its workers will ask
for, because Ray Train waits for resources by time-out and retry, not in a queue. A failed stage blocks its dependents
only.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from rich.text import Text

from ulmfit_dist.cluster.console import Watch, describe_estimate
from ulmfit_dist.cluster.coordinator import Job
from ulmfit_dist.cluster.gpuuse import GPU_USE, gpu_use_told
from ulmfit_dist.cluster.ledger import Capacity, Ledger, expected_seconds
from ulmfit_dist.cluster.metrics import Metered
from ulmfit_dist.cluster.plan import PlannedStage
from ulmfit_dist.cluster.retrying import MAX_TRIES, MAX_TRIES_ON_ERROR, Retries
from ulmfit_dist.cluster.room import ON_RANKS, check_room
from ulmfit_dist.cluster.scaling import Growth
from ulmfit_dist.cluster.session import LOCAL, Where, capacity, ray_session
from ulmfit_dist.cluster.sharing import Alone, Permits, Shared
from ulmfit_dist.cluster.stopping import StopRequest, stop_file_watched
from ulmfit_dist.cluster.visible import check_visible
from ulmfit_dist.errors import DataError, InputError, PartialError, StoppedError, UlmfitError
from ulmfit_dist.events import EVENTS_NAME, parse_events
from ulmfit_dist.stage import STOP_NAME, StageCall, StageKind, Summary, run_stage, stage_reporter
from ulmfit_dist.training.ranks import RankSettings

_POLL_S = 0.25
_LOOK_S = 1.0  # how often the cluster's size and the other runs are looked at
_STOP_GRACE_S = 20.0
_NO_ROOM_S = 60.0


@dataclass
class _Running:
    stage: PlannedStage
    attempt: int
    events: _Tail
    started: float = field(default_factory=time.monotonic)


class _Tail:
    """Reads the whole lines that were appended to an event file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def read(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += data.rfind(b"\n") + 1
        yield from parse_events(data)


class Scheduler:
    """Runs the stages of one job that are missing. `execute` may be called once.

    kept: what was done before, by name.
    """

    def __init__(self, job: Job, kept: Sequence[str]) -> None:
        self._plan, self._kinds, self._run_dir, self._log = job.plan, job.kinds, job.run_dir, job.log
        self._watch: Watch = Metered(job.watch, job.run_dir, len(job.plan.stages), kept)
        self._ledger = Ledger(job.plan, expected_seconds(job.plan, job.run_dir))
        for name in kept:
            self._ledger.done(name)
        self._permits: Permits = Alone()
        self._growth = Growth(0.0)
        self._retries = Retries()
        self._stop = StopRequest(job.run_dir)
        self._attempts = dict.fromkeys(job.plan.stages, 0)
        self._running: dict[Any, _Running] = {}
        self._errors: dict[str, UlmfitError] = {}
        self._looked = self._moved = time.monotonic()

    def execute(self, where: Where, missing: list[PlannedStage]) -> None:
        """Run the missing stages and close the job's log. Raises what `Coordinator.execute` says."""
        with ray_session(where) as total, self._stop.listening():
            joined = where.address != LOCAL
            self._growth = Growth(where.scaling_seconds if joined else 0.0)
            if not self._growth.possible:
                _check_gpus(missing, total, InputError)
                self._check_ranks(missing, total)
            if joined:
                check_visible(missing, self._run_dir)
                self._permits = Shared(str(self._run_dir))
            self._ledger.total = total
            try:
                self._loop()
            finally:
                self._growth.withdraw()
                self._permits.leave()
        failed, blocked = sorted(self._ledger.failed), sorted(self._ledger.blocked)
        self._log.event("run-finished", failed=failed, blocked=blocked)
        self._raise_failures()

    def _check_ranks(self, stages: Sequence[PlannedStage], total: Capacity) -> None:
        for stage in stages:
            settings, kind = stage.spec.settings, self._kinds[stage.spec.kind]
            if isinstance(settings, RankSettings) and kind.name in ON_RANKS and kind.own_workers(settings):
                check_room(kind.name, settings, total)

    def _loop(self) -> None:
        while True:
            if (request := self._stop.made()) is not None:
                self._end_early(request)
            self._look_around()
            self._start_what_fits()
            if self._running:
                done, _ = ray.wait(list(self._running), timeout=_POLL_S)
                self._show_progress()
                for reference in done:
                    self._end(reference, self._running.pop(reference))
            elif self._ledger.waits():
                time.sleep(_POLL_S)  # for the next try of a stage, for another run, or for a node to come back
            else:
                return

    def _look_around(self) -> None:
        """Follow a cluster that grows or loses nodes, and tell the other runs that this one lives."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        self._ledger.total = capacity()
        self._permits.ask(self._ledger.needs(), {}, self._ledger.total)
        self._growth.ask(self._ledger.gpu_needs(), now)
        if self._running:
            self._moved = now
        elif self._growth.possible and self._growth.came_to_nothing(now):
            _check_gpus(self._ledger.ready(), self._ledger.total, DataError)
        elif now - self._moved > _NO_ROOM_S:
            self._moved = now
            self._watch.note(f"no stage could start for {_NO_ROOM_S:.0f} s: others hold the cluster, or nodes are gone")

    def _start_what_fits(self) -> None:
        chosen = {stage.name: stage for stage in self._ledger.choose(time.monotonic())}
        if not chosen:
            return
        wanted = {name: self._ledger.need(stage) for name, stage in chosen.items()}
        for name in self._permits.ask(self._ledger.needs(), wanted, self._ledger.total):
            self._start(chosen[name])

    def _start(self, stage: PlannedStage) -> None:
        spec = stage.spec
        self._ledger.started(stage.name, time.monotonic())
        self._attempts[stage.name] += 1
        stage.folder.mkdir(parents=True, exist_ok=True)
        (stage.folder / STOP_NAME).unlink(missing_ok=True)
        self._retries.started(stage)
        tail = _Tail(stage.folder / EVENTS_NAME)
        # The ledger has decided; Ray's own count only gives a task its number of threads and its GPU.
        own = self._kinds[spec.kind].own_workers(spec.settings)
        held = {"num_cpus": 0, "num_gpus": 0} if own else {"num_cpus": min(1.0, spec.cpus), "num_gpus": spec.gpus}
        reference = _run_task.options(**held).remote(
            self._kinds[spec.kind], spec.settings, dict(stage.inputs), stage.folder, stage.fingerprint
        )
        attempt = self._attempts[stage.name]
        self._running[reference] = _Running(stage, attempt, tail)
        self._log.event("stage-started", name=stage.name, fingerprint=stage.fingerprint, attempt=attempt)
        self._watch.started(stage.name)

    def _show_progress(self) -> None:
        for running in self._running.values():
            for event in running.events.read():
                if event["kind"] == "progress":
                    self._watch.progress(running.stage.name, event)
                elif event["kind"] != GPU_USE:  # of many GPUs and weeks: who wants it reads the stage's own file
                    if event["kind"] == "estimate":
                        self._watch.note(describe_estimate(event))
                    self._log.event(event.pop("kind"), stage=running.stage.name, **event)

    def _end(self, reference: Any, running: _Running) -> None:
        stage, seconds = running.stage, time.monotonic() - running.started
        try:
            ray.get(reference)
        except RayTaskError as error:
            cause = error.cause
            known = cause if isinstance(cause, UlmfitError) else None
            # A user's or the data's mistake is the same the next time; what the stage itself lost on Ray is a crash.
            lost = isinstance(cause, RayError) and not isinstance(cause, RayTaskError)
            tries = 1 if known else MAX_TRIES if lost else MAX_TRIES_ON_ERROR
            self._try_again(running, known or _unforeseen(stage, error), _plain(error), tries)
        except RayError as error:
            self._try_again(running, _crashed(stage, running.attempt, error), _plain(error), MAX_TRIES)
        else:
            self._ledger.done(stage.name)
            self._log.event("stage-finished", name=stage.name, fingerprint=stage.fingerprint, seconds=round(seconds, 3))
            self._watch.ended(stage.name, "done", seconds)

    def _try_again(self, running: _Running, error: UlmfitError, detail: str, tries: int) -> None:
        stage = running.stage
        wait = self._retries.wait(stage, tries) if tries > 1 else None
        if wait is not None:
            reason = str(error)
            self._log.event("stage-retried", name=stage.name, attempt=running.attempt, reason=reason, wait=wait)
            self._watch.note(f"{stage.name}: {error}; trying again" + (f" in {wait:g} s" if wait else ""))
            self._ledger.again(stage.name, time.monotonic() + wait)
            return
        self._errors[stage.name] = error
        blocked = sorted(self._ledger.give_up(stage.name))
        self._log.event("stage-failed", name=stage.name, reason=str(error), detail=detail, blocks=blocked)
        self._watch.ended(stage.name, "failed", time.monotonic() - running.started)
        self._watch.note(f"{stage.name}: {error}")
        for name in blocked:
            self._watch.ended(name, f"blocked by {stage.name}", 0.0)

    def _end_early(self, request: StoppedError) -> None:
        """Ask the running stages to stop at a checkpoint, wait a little, and leave a state that continues."""
        self._watch.note(f"{request.what}: stopping at the next checkpoint")
        for running in self._running.values():
            (running.stage.folder / STOP_NAME).touch()
        names = sorted(running.stage.name for running in self._running.values())
        deadline = time.monotonic() + _STOP_GRACE_S
        left = [reference for reference, run in self._running.items() if self._kinds[run.stage.spec.kind].resumable]
        while left and time.monotonic() < deadline and not self._stop.urgent:
            _, left = ray.wait(left, num_returns=len(left), timeout=_POLL_S)
        for reference in self._running:
            ray.cancel(reference, force=True)
        self._log.event("run-stopped", reason=request.what, running=names)
        raise request

    def _raise_failures(self) -> None:
        if not self._errors:
            return
        first = next(iter(self._errors.values()))
        if self._ledger.reached_an_end():
            raise PartialError(
                f"{len(self._errors)} stages failed and {len(self._ledger.blocked)} wait for them; the others are done",
                found=", ".join(sorted(self._errors)),
                do="see events.jsonl in the run directory, mend the cause and run the same command",
            ) from first
        # Whatever its kind, an error met by a stage came after work had started: exit code 1, not 2.
        raise DataError(first.what, found=first.found, do=first.do) from first


def _run(kind: StageKind[Any], settings: Any, inputs: dict[str, Path], out: Path, identity: str) -> Summary:
    reporter = stage_reporter(out)
    reporter.event("stage-placed", host=socket.gethostname(), pid=os.getpid())
    with stop_file_watched(out / STOP_NAME), gpu_use_told(reporter):
        return run_stage(kind, StageCall(settings, inputs, out, reporter), identity)


# Made once: each new remote function is sent to the cluster and loaded by every worker anew.
_run_task = ray.remote(max_retries=0)(_run)


def _check_gpus(stages: Sequence[PlannedStage], total: Capacity, kind: type[UlmfitError]) -> None:
    for stage in stages:
        if stage.spec.gpus > total.gpus:
            raise kind(
                f"stage {stage.name} asks for {stage.spec.gpus:g} GPUs",
                found=f"the cluster has {total.gpus:g}",
                do="lower resources.pretrain_workers, pretrain_gpus_per_worker, "
                "classifier_workers, search_concurrent or task_gpus, join a larger one, or set "
                "resources.scaling_seconds where an autoscaler brings more",
            )


def _plain(error: RayError) -> str:
    return Text.from_ansi(str(error)).plain


def _unforeseen(stage: PlannedStage, error: RayTaskError) -> UlmfitError:
    last = _plain(error).strip().splitlines()[-1]
    return DataError(
        f"stage {stage.name} failed",
        found=last,
        do="the traceback is in events.jsonl of the run directory",
    )


def _crashed(stage: PlannedStage, attempt: int, error: RayError) -> UlmfitError:
    reason = str(error).strip().splitlines()[0]
    return DataError(
        f"the process of stage {stage.name} died (try {attempt})",
        found=reason,
        do="look for memory or hardware trouble on that node; the stage continues from its checkpoint",
    )
