"""A coordinator of stages that only sleep and write, as a process of its own that may kill itself at a commit point.

python coordinator_driver.py RUN_DIR KIND KILL_AT

KIND: `diamond` (five stages, sleeping 0.3 s) or `many:N:SECONDS` (independent ones). KILL_AT: before which commit
(an event, a file renamed into place, the claim of the run directory) the process kills itself; 0: never.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from ulmfit_dist.cluster import lock
from ulmfit_dist.cluster.console import make_watch
from ulmfit_dist.cluster.coordinator import Coordinator
from ulmfit_dist.cluster.plan import Output, Plan, SourceDigests, StageSpec, make_plan
from ulmfit_dist.cluster.session import LOCAL, Where
from ulmfit_dist.config import Settings
from ulmfit_dist.errors import UlmfitError
from ulmfit_dist.events import EventLog, read_events
from ulmfit_dist.files import digest_file, write_bytes
from ulmfit_dist.stage import StageCall, StageKind, Summary

DRIVER_LOG = "driver.jsonl"
DIAMOND: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["d"]}


class Nap(Settings):
    """A stage that sleeps."""

    seconds: float = 0.3
    name: str = ""


def _nap(call: StageCall[Nap]) -> Summary:
    time.sleep(call.settings.seconds)
    text = "".join((path / "out.txt").read_text() for path in call.inputs.values())
    write_bytes(call.out / "out.txt", f"{text}{call.settings.name} ".encode())
    return {}


def main(run_dir: Path, kind: str, kill_at: int) -> None:
    """Run the plan in the run directory, or as far as the kill."""
    if kill_at:
        _die_before_commit(kill_at)
    kinds = {"nap": StageKind("nap", 1, _nap)}
    if kind == "diamond":
        stages, seconds = DIAMOND, 0.3
    else:
        _, number, each = kind.split(":")
        stages, seconds = {f"s{i:04d}": [] for i in range(int(number))}, float(each)
    specs = [
        StageSpec(name, "nap", Nap(seconds=seconds, name=name), {u: Output(u) for u in upstream})
        for name, upstream in stages.items()
    ]
    with lock.owned(run_dir):
        plan: Plan = make_plan(specs, kinds, run_dir, SourceDigests(None))
        before = time.process_time()
        Coordinator(plan, kinds, run_dir, make_watch(Console(stderr=True))).execute(Where(LOCAL, 2))
    EventLog(run_dir / DRIVER_LOG).event("ended", cpu=time.process_time() - before)


def start(run_dir: Path, kind: str = "diamond", kill_at: int = 0) -> subprocess.Popen[bytes]:
    """Start it as a process."""
    command = [sys.executable, __file__, str(run_dir), kind, str(kill_at)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def finish(run_dir: Path, kind: str = "diamond") -> float:
    """Run to the end; return the seconds from the command to the first stage at work (0.0 if none was left)."""
    started = time.time()
    assert start(run_dir, kind).wait(300) == 0
    placed = [e["time"] for e in read_events(run_dir / "events.jsonl") if e["kind"] == "stage-placed"]
    return min((moment - started for moment in placed if moment >= started), default=0.0)


def results(run_dir: Path) -> dict[str, str]:
    """Return the digest of every output."""
    return {path.parent.name: digest_file(path) for path in sorted(run_dir.glob("stages/*/out.txt"))}


def records(run_dir: Path) -> dict[str, bytes]:
    """Return the record of every finished stage: it holds times, so a stage that ran again has another one."""
    return {path.parent.name: path.read_bytes() for path in run_dir.glob("stages/*/stage.json")}


def _die_before_commit(number: int) -> None:
    left = [number]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return run

    EventLog.event = counted(EventLog.event)  # type: ignore[method-assign]
    Path.replace = counted(Path.replace)  # type: ignore[method-assign]
    Path.unlink = counted(Path.unlink)  # type: ignore[method-assign]
    lock._claim = counted(lock._claim)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    except UlmfitError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
