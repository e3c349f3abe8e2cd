"""The coordinator: runs a plan's stages on Ray, as many at a time as CPUs and GPUs allow. Files are its only truth.

A stage is a Ray task; a trainer or pool stage holds nothing itself but the ledger reserves what its workers will ask
for, because Ray Train waits for resources by time-out and retry, not in a queue. Killed at any moment, the same command
goes on: a stage counts when its `stage.json` is there. A failed stage blocks its dependents only.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from rich.text import Text

from ulmfit_dist.cluster.console import Watch, describe_estimate
from ulmfit_dist.cluster.plan import Plan, PlannedStage
from ulmfit_dist.cluster.session import Capacity, Where, ray_session
from ulmfit_dist.cluster.stopping import stop_file_watched
from ulmfit_dist.errors import DataError, InputError, PartialError, SignalledError, UlmfitError
from ulmfit_dist.events import EVENTS_NAME, EventLog, parse_events
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import RECORD_NAME, STOP_NAME, StageCall, StageKind, Summary, run_stage, stage_reporter

MAX_TRIES = 3
_POLL_S = 0.25
_STOP_GRACE_S = 20.0


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


class Coordinator:
    """One run of one plan. `execute` may be called once."""

    def __init__(self, plan: Plan, kinds: Mapping[str, StageKind[Any]], run_dir: Path, watch: Watch) -> None:
        self._plan, self._kinds, self._watch = plan, kinds, watch
        self._log = EventLog(run_dir / EVENTS_NAME)
        self._run_dir = run_dir
        self._finished: set[str] = set()
        self._failed: dict[str, UlmfitError] = {}
        self._blocked: set[str] = set()
        self._running: dict[Any, _Running] = {}
        self._signal: int | None = None

    def execute(self, where: Where) -> int:
        """Run every unfinished stage; return how many ran.

        Raises the stage's own error or PartialError when stages failed, SignalledError after SIGINT or SIGTERM.
        """
        self._log.event("run-started", stages=len(self._plan.stages))
        self._plan.save(self._run_dir)
        for stage in self._plan.stages.values():
            if stage.done():
                self._finished.add(stage.name)
                self._log.event("stage-skipped", name=stage.name, fingerprint=stage.fingerprint)
                self._watch.ended(stage.name, "kept", float(read_json(stage.folder / RECORD_NAME)["seconds"]))
        missing = len(self._plan.stages) - len(self._finished)
        if missing:
            self._watch.note(f"starting Ray for {missing} of {len(self._plan.stages)} stages")
            with ray_session(where) as capacity, self._signals():
                self._check_gpus(capacity)
                self._loop(capacity)
        self._log.event("run-finished", failed=sorted(self._failed), blocked=sorted(self._blocked))
        self._raise_failures()
        return missing

    def _check_gpus(self, capacity: Capacity) -> None:
        for stage in self._plan.stages.values():
            if stage.name not in self._finished and stage.spec.gpus > capacity.gpus:
                raise InputError(
                    f"stage {stage.name} asks for {stage.spec.gpus:g} GPUs",
                    found=f"the cluster has {capacity.gpus:g}",
                    do="lower resources.pretrain_workers, pretrain_gpus_per_worker or task_gpus, or join a larger one",
                )

    def _loop(self, capacity: Capacity) -> None:
        while True:
            if self._signal is not None:
                self._stop()
            self._start_what_fits(capacity)
            if not self._running:
                return
            done, _ = ray.wait(list(self._running), timeout=_POLL_S)
            self._show_progress()
            for reference in done:
                self._end(reference, self._running.pop(reference))

    def _start_what_fits(self, capacity: Capacity) -> None:
        taken = self._finished | set(self._failed) | self._blocked | {r.stage.name for r in self._running.values()}
        specs = [running.stage.spec for running in self._running.values()]
        cpus = capacity.cpus - sum(spec.cpus for spec in specs)
        gpus = capacity.gpus - sum(spec.gpus for spec in specs)
        for stage in self._plan.ready(self._finished, taken):
            # A stage that asks for more CPUs than the cluster has starts alone.
            need = min(stage.spec.cpus, capacity.cpus)
            if need <= cpus and stage.spec.gpus <= gpus:
                cpus, gpus = cpus - need, gpus - stage.spec.gpus
                self._start(stage, attempt=1)

    def _start(self, stage: PlannedStage, attempt: int) -> None:
        spec = stage.spec
        stage.folder.mkdir(parents=True, exist_ok=True)
        (stage.folder / STOP_NAME).unlink(missing_ok=True)
        tail = _Tail(stage.folder / EVENTS_NAME)
        # The ledger has decided; Ray's own count only gives a task its number of threads and its GPU.
        own = self._kinds[spec.kind].own_workers
        held = {"num_cpus": 0, "num_gpus": 0} if own else {"num_cpus": min(1.0, spec.cpus), "num_gpus": spec.gpus}
        task = ray.remote(**held, max_retries=0)(_run)
        reference = task.remote(
            self._kinds[spec.kind], spec.settings, dict(stage.inputs), stage.folder, stage.fingerprint
        )
        self._running[reference] = _Running(stage, attempt, tail)
        self._log.event("stage-started", name=stage.name, fingerprint=stage.fingerprint, attempt=attempt)
        self._watch.started(stage.name)

    def _show_progress(self) -> None:
        for running in self._running.values():
            for event in running.events.read():
                if event["kind"] == "progress":
                    self._watch.progress(running.stage.name, event)
                else:
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
            # A user's or the data's mistake is the same the next time; anything unforeseen gets one more try.
            tries = 1 if known else 2
            self._try_again(running, known or _unforeseen(stage, error), _plain(error), tries)
        except RayError as error:
            self._try_again(running, _crashed(stage, running.attempt, error), _plain(error), MAX_TRIES)
        else:
            self._finished.add(stage.name)
            self._log.event("stage-finished", name=stage.name, fingerprint=stage.fingerprint, seconds=round(seconds, 3))
            self._watch.ended(stage.name, "done", seconds)

    def _try_again(self, running: _Running, error: UlmfitError, detail: str, tries: int) -> None:
        stage = running.stage
        if running.attempt < tries:
            self._log.event("stage-retried", name=stage.name, attempt=running.attempt, reason=str(error))
            self._watch.note(f"{stage.name}: {error}; trying again")
            self._start(stage, running.attempt + 1)
            return
        self._failed[stage.name] = error
        blocked = self._plan.dependents(stage.name) - self._blocked
        self._blocked |= blocked
        self._log.event("stage-failed", name=stage.name, reason=str(error), detail=detail, blocks=sorted(blocked))
        self._watch.ended(stage.name, "failed", time.monotonic() - running.started)
        self._watch.note(f"{stage.name}: {error}")
        for name in sorted(blocked):
            self._watch.ended(name, f"blocked by {stage.name}", 0.0)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Note SIGINT and SIGTERM: the loop acts on them. Installed after ray.init, which sets handlers of its own."""

        def note(number: int, _: FrameType | None) -> None:
            self._signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self) -> None:
        """Ask the running stages to stop at a checkpoint, wait a little, and leave a state that continues."""
        assert self._signal is not None
        name = signal.Signals(self._signal).name
        self._watch.note(f"{name}: stopping at the next checkpoint")
        for running in self._running.values():
            (running.stage.folder / STOP_NAME).touch()
        trainers = [reference for reference, r in self._running.items() if self._kinds[r.stage.spec.kind].resumable]
        if trainers:
            ray.wait(trainers, num_returns=len(trainers), timeout=_STOP_GRACE_S)
        self._log.event("run-stopped", signal=name, running=sorted(r.stage.name for r in self._running.values()))
        raise SignalledError(self._signal, do="run the same command to continue")

    def _raise_failures(self) -> None:
        if not self._failed:
            return
        first = next(iter(self._failed.values()))
        if self._branch_done():
            raise PartialError(
                f"{len(self._failed)} stages failed and {len(self._blocked)} wait for them; the others are done",
                found=", ".join(sorted(self._failed)),
                do="see events.jsonl in the run directory, mend the cause and run the same command",
            ) from first
        # Whatever its kind, an error met by a stage came after work had started: exit code 1, not 2.
        raise DataError(first.what, found=first.found, do=first.do) from first

    def _branch_done(self) -> bool:
        """Whether some end of the plan was reached although a stage failed."""
        ends = {name for name in self._plan.stages if self._plan.distance_to_end(name) == 1}
        return bool(ends & self._finished)


def _run(kind: StageKind[Any], settings: Any, inputs: dict[str, Path], out: Path, identity: str) -> Summary:
    with stop_file_watched(out / STOP_NAME):
        return run_stage(kind, StageCall(settings, inputs, out, stage_reporter(out)), identity)


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
