"""How a run stands, read from its files alone: it may live on another machine that shares the directory, or be dead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ulmfit_dist.cluster.gpuuse import GPU_USE
from ulmfit_dist.cluster.lock import read_owner
from ulmfit_dist.cluster.plan import PLAN_NAME
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import EVENTS_NAME, parse_events
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import is_done

WAITING, RUNNING, RETRYING, DONE, KEPT, FAILED, BLOCKED = (
    "waiting",
    "running",
    "trying again",
    "done",
    "kept",
    "failed",
    "blocked",
)
_FIRST_LOOK_BYTES = 1 << 18
_CURVE_POINTS = 200


@dataclass
class StageStatus:
    """One stage: its state, where it runs, how far it is and how fast; None for what nobody has told.

    share: of the phase `what` for stages that have several; gpu: busy share of its GPUs, 0 to 1; seconds: so far, or in
    all; left: seconds to the end of the phase at its speed so far; curve: (tokens, loss) of the training so far.
    """

    name: str
    kind: str
    fingerprint: str
    folder: Path
    state: str = WAITING
    host: str | None = None
    attempts: int = 0
    share: float | None = None
    what: str | None = None
    tokens_per_s: float | None = None
    loss: float | None = None
    gpu: float | None = None
    seconds: float | None = None
    left: float | None = None
    reason: str | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        return self.state in (DONE, KEPT)


@dataclass
class RunStatus:
    """A run: `state` is running, done, failed, stopped, or dead (killed: the same command continues it)."""

    run_dir: Path
    state: str
    host: str | None
    pid: int | None
    seconds: float
    stages: list[StageStatus]
    note: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "run_dir": str(self.run_dir), "stages": [_as_json(stage) for stage in self.stages]}


class RunReader:
    """Reads a run's status again and again; each time only what was appended since."""

    def __init__(self, run_dir: Path) -> None:
        """Raise InputError for a folder that is no run directory."""
        if not (run_dir / EVENTS_NAME).is_file():
            do = "give the run directory: the one that `ulmfit run` was given or made below runs/"
            raise InputError(f"{run_dir} is not a run directory", found=f"no {EVENTS_NAME} in it", do=do)
        self._run_dir = run_dir
        self._events = _Appended(run_dir / EVENTS_NAME)
        self._progress: dict[Path, _Appended] = {}
        self._stages: dict[str, StageStatus] = {}
        self._started: dict[str, float] = {}
        self._speed: dict[str, tuple[str | None, float, float]] = {}
        self._use: dict[str, dict[tuple[str, int], float]] = {}
        self._first = self._last = 0.0
        self._end = "dead"
        self._note: str | None = None

    def read(self) -> RunStatus:
        """Return how the run stands now."""
        for event in self._events.read():
            self._take(event)
        self._follow_plan()
        for stage in self._stages.values():
            self._look_at(stage)
        found = read_owner(self._run_dir)
        owner, lives = found or ({}, False)
        state = RUNNING if lives else self._end
        stages = list(self._stages.values())
        for stage in stages:
            if not lives and stage.state in (RUNNING, RETRYING):
                stage.state, stage.left = WAITING, None
        seconds = max(0.0, self._last - self._first)
        return RunStatus(
            self._run_dir.resolve(), state, owner.get("host"), owner.get("pid"), seconds, stages, self._note
        )

    def _follow_plan(self) -> None:
        path = self._run_dir / PLAN_NAME
        rows = read_json(path)["stages"] if path.is_file() else []
        known, self._stages = self._stages, {}
        for row in rows:
            stage = known.get(row["name"]) or StageStatus(row["name"], row["kind"], "", Path())
            stage.kind, stage.fingerprint, stage.folder = row["kind"], row["fingerprint"], self._run_dir / row["folder"]
            self._stages[stage.name] = stage

    def _look_at(self, stage: StageStatus) -> None:
        """Read what a running stage says itself; a result that is there counts, whatever the events say."""
        if not stage.done and is_done(stage.folder, stage.fingerprint):
            stage.state, stage.share, stage.left = DONE, 1.0, 0.0
        if stage.state != RUNNING:
            return
        tail = self._progress.setdefault(stage.folder, _Appended(stage.folder / EVENTS_NAME, _FIRST_LOOK_BYTES))
        for event in tail.read():
            self._last = max(self._last, event["time"])
            if event["time"] < self._started.get(stage.name, 0.0):
                continue
            if event["kind"] == "progress":
                self._move(stage, event)
            elif event["kind"] == GPU_USE:
                use = self._use.setdefault(stage.name, {})
                use[event["host"], event["gpu"]] = event["busy"]
                stage.gpu = sum(use.values()) / len(use)
        stage.seconds = max(0.0, self._last - self._started.get(stage.name, self._last))

    def _move(self, stage: StageStatus, event: dict[str, Any]) -> None:
        stage.what = event.get("what")
        stage.share = event["done"] / event["total"] if event["total"] else 1.0
        stage.tokens_per_s, stage.loss = event.get("tokens_per_s"), event.get("loss", stage.loss)
        what, share, moment = self._speed.get(stage.name, (None, 0.0, 0.0))
        if stage.name not in self._speed or what != stage.what or share > stage.share:
            self._speed[stage.name] = (stage.what, stage.share, event["time"])
        elif stage.share > share:
            stage.left = (event["time"] - moment) * (1 - stage.share) / (stage.share - share)

    def _take(self, event: dict[str, Any]) -> None:
        kind, self._last = event["kind"], max(self._last, event["time"])
        if kind == "run-started":
            self._first, self._end, self._note = event["time"], "dead", None
            for stage in self._stages.values():
                stage.state = WAITING
        elif kind in ("run-finished", "run-stopped"):
            self._note = event.get("reason")
            self._end = "stopped" if kind == "run-stopped" else "failed" if event["failed"] else "done"
        elif (name := event.get("name" if kind.startswith("stage-") else "stage", event.get("stage"))) is not None:
            stage = self._stages.setdefault(name, StageStatus(name, "", "", Path()))
            self._take_of_stage(stage, event)

    def _take_of_stage(self, stage: StageStatus, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "stage-started":
            stage.state, stage.reason, stage.attempts = RUNNING, None, stage.attempts + 1
            self._started[stage.name] = event["time"]
            self._speed.pop(stage.name, None)
            self._use.pop(stage.name, None)
            stage.share = stage.left = None
        elif kind == "stage-placed":
            stage.host = event["host"]
        elif kind == "stage-skipped":
            stage.state = KEPT
        elif kind == "stage-finished":
            stage.state, stage.seconds, stage.share, stage.left = DONE, event["seconds"], 1.0, 0.0
        elif kind == "stage-retried":
            stage.state, stage.reason = RETRYING, event["reason"]
        elif kind == "stage-failed":
            stage.state, stage.reason = FAILED, event["reason"]
            for name in event["blocks"]:
                self._stages.setdefault(name, StageStatus(name, "", "", Path())).state = BLOCKED
        elif kind == "point":
            self._draw(stage, event)

    def _draw(self, stage: StageStatus, event: dict[str, Any]) -> None:
        if not isinstance(event.get("loss"), (int, float)):
            return
        where = event.get("tokens", event.get("step", len(stage.curve)))
        while stage.curve and stage.curve[-1][0] >= where:
            stage.curve.pop()  # an attempt went back to its checkpoint
        stage.curve.append((where, event["loss"]))
        if len(stage.curve) > 2 * _CURVE_POINTS:
            del stage.curve[1:-1:2]


class _Appended:
    """The whole events appended to a file since the last look; `at_most` bytes of it the first time."""

    def __init__(self, path: Path, at_most: int | None = None) -> None:
        self._path, self._at_most, self._offset = path, at_most, -1

    def read(self) -> Iterator[dict[str, Any]]:
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            size = file.seek(0, 2)
            if self._offset < 0:
                self._offset = max(0, size - self._at_most) if self._at_most is not None else 0
            file.seek(self._offset)
            data = file.read()
        self._offset += data.rfind(b"\n") + 1
        yield from parse_events(data)


def recent(stages: list[StageStatus], rows: int) -> list[StageStatus]:
    """Return the stages to show where there is room for so many: what runs and failed first, in the plan's order."""
    if len(stages) <= rows:
        return stages
    order = {state: rank for rank, state in enumerate((RUNNING, RETRYING, FAILED, WAITING, BLOCKED, DONE, KEPT))}
    chosen = sorted(range(len(stages)), key=lambda index: (order[stages[index].state], index))[:rows]
    return [stages[index] for index in sorted(chosen)]


def _as_json(stage: StageStatus) -> dict[str, Any]:
    return {**asdict(stage), "folder": str(stage.folder)}
