"""MLflow and Weights & Biases beside the training, which neither can harm.

Each tracker runs in a process of its own: what it imports, a network that hangs and a crash stay there. Records go
through a pipe that is never waited for; at the end there is a limit to how long the tracker may take. What goes wrong
is told once, as an event `tracker_failed`, and that tracker gets nothing more.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from ulmfit_dist.errors import StoppedError
from ulmfit_dist.events import Reporter
from ulmfit_dist.stage import StageCall
from ulmfit_dist.training.board import BoardReporter, scalars

TrackerName = Literal["mlflow", "wandb"]
BOARD_NAME = "tensorboard"
TRACKERS_NAME = "trackers"
# To import a tracker and reach its server; a stop has seconds, and goes on without it.
_PATIENCE_S, _PATIENCE_STOPPED_S = 60.0, 2.0
_POLL_S = 0.02


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker calls the training, what it is told of its settings, and where its run ids are kept."""

    name: str
    settings: Mapping[str, Any]
    folder: Path


class Tracker:
    """One tracker's process. `failure` is a sentence once it has failed."""

    def __init__(self, name: TrackerName, run: TrackedRun) -> None:
        self.name, self.failure = name, ""
        self._pending = b""
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        command = [sys.executable, "-m", "ulmfit_dist.training.tracker_child", name]
        # A session of its own: a signal from the terminal is for the training, which ends its trackers in order.
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors, start_new_session=True
        )
        assert self._process.stdin is not None, "asked for above"
        self._pipe = self._process.stdin
        os.set_blocking(self._pipe.fileno(), False)
        parameters = dict(_flat(run.settings))
        self.send({"name": run.name, "parameters": parameters, "id_file": str(run.folder / f"{name}.id")})

    def send(self, record: Mapping[str, Any]) -> None:
        """Hand a record over as far as the pipe takes it, and keep the rest for the next time."""
        self._pending += json.dumps(record).encode() + b"\n"
        self._flush()
        if self._process.poll() is not None:
            self._failed(f"ended with code {self._process.returncode}")

    def close(self, status: str, patience_s: float) -> None:
        """End the run and the process, in so many seconds at most; closed again, do nothing."""
        if self._pipe.closed:
            return
        deadline = time.monotonic() + patience_s
        if not self.failure:
            self.send({"status": status})
        while self._pending and not self.failure and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            self._flush()
        self._pipe.close()
        try:
            code = self._process.wait(max(deadline - time.monotonic(), 0))
            if code:
                self._failed(f"ended with code {code}")
        except subprocess.TimeoutExpired:
            self._failed(f"did not finish in {patience_s:g} seconds")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with what it has started itself
        self._process.wait()
        self._errors.close()

    def _flush(self) -> None:
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._pipe.fileno(), self._pending) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._process.wait()

    def _failed(self, how: str) -> None:
        if self.failure:
            return
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        self.failure = f"{how}: {said[-1]}" if said else how


class TrackerReporter:
    """Passes every report on, and sends the numbers of `point` and `validation` events to the trackers."""

    def __init__(self, reporter: Reporter, run: TrackedRun, names: Sequence[TrackerName]) -> None:
        self._reporter = reporter
        self._trackers: list[Tracker] = []
        for name in names:
            try:
                self._trackers.append(Tracker(name, run))
            except OSError as error:
                self._tell(name, str(error))

    def event(self, kind: str, **fields: Any) -> None:
        """Pass on; send the scalars of points and validations."""
        self._reporter.event(kind, **fields)
        metrics = scalars(kind, fields)
        for tracker in self._trackers if metrics else []:
            tracker.send({"metrics": metrics, "step": fields["step"]})
        self._drop_failed()

    def progress(self, done: float, total: float, **metrics: Any) -> None:
        """Pass on."""
        self._reporter.progress(done, total, **metrics)

    def close(self, status: str, patience_s: float = _PATIENCE_S) -> None:
        """End every tracker's run as FINISHED, FAILED or KILLED."""
        for tracker in self._trackers:
            tracker.close(status, patience_s)
        self._drop_failed()

    def _drop_failed(self) -> None:
        for tracker in [tracker for tracker in self._trackers if tracker.failure]:
            self._trackers.remove(tracker)
            self._tell(tracker.name, tracker.failure)
            tracker.close("", 0)

    def _tell(self, name: TrackerName, reason: str) -> None:
        self._reporter.event("tracker_failed", tracker=name, reason=reason, action="the training goes on without it")


@contextlib.contextmanager
def stage_reporters(call: StageCall[Any], trackers: Sequence[TrackerName]) -> Iterator[Reporter]:
    """Give the reporter of a training stage: its own, TensorBoard's files, and trackers, which end with the block."""
    board = BoardReporter(call.reporter, call.out / BOARD_NAME)
    run = TrackedRun(call.out.name, call.settings.semantic(), call.out / TRACKERS_NAME)
    reporter = TrackerReporter(board, run, trackers)
    try:
        yield reporter
    except StoppedError:
        reporter.close("KILLED", _PATIENCE_STOPPED_S)
        raise
    except BaseException:
        reporter.close("FAILED", _PATIENCE_STOPPED_S)
        raise
    else:
        reporter.close("FINISHED")
    finally:
        board.close()


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, bool | int | float) else str(value)
