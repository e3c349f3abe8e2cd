"""The coordinator: one run of one plan, from its first line in the log to its last. Files are its only truth.

Killed at any moment, the same command goes on: a stage counts when its `stage.json` is there. What is missing is run by
the scheduler; a run in which nothing is ends without a Ray.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmfit_dist.cluster.console import Watch
from ulmfit_dist.cluster.plan import Plan
from ulmfit_dist.events import EVENTS_NAME, EventLog
from ulmfit_dist.files import TEMPORARY_MARK, read_json
from ulmfit_dist.stage import RECORD_NAME, StageKind

if TYPE_CHECKING:
    from ulmfit_dist.cluster.session import Where


@dataclass(frozen=True)
class Job:
    """What is run: the plan with the code of its stages, where, and who is told of it."""

    plan: Plan
    kinds: Mapping[str, StageKind[Any]]
    run_dir: Path
    watch: Watch
    log: EventLog


class Coordinator:
    """One run of one plan. `execute` may be called once."""

    def __init__(self, plan: Plan, kinds: Mapping[str, StageKind[Any]], run_dir: Path, watch: Watch) -> None:
        self._job = Job(plan, kinds, run_dir, watch, EventLog(run_dir / EVENTS_NAME))

    def execute(self, where: Where) -> int:
        """Run every unfinished stage; return how many ran.

        Raises the stage's own error or PartialError when stages failed, SignalledError after SIGINT or SIGTERM,
        StoppedError after `ulmfit cancel`, InputError when the cluster cannot do it.
        """
        job = self._job
        job.log.event("run-started", stages=len(job.plan.stages), host=socket.gethostname(), pid=os.getpid())
        for path in job.run_dir.glob(f"*{TEMPORARY_MARK}*"):
            path.unlink()  # of a coordinator that was killed while it wrote; stages sweep their own folders
        job.plan.save(job.run_dir)
        kept = self._note_finished()
        missing = [stage for stage in job.plan.stages.values() if stage.name not in kept]
        if not missing:
            job.log.event("run-finished", failed=[], blocked=[])
            return 0
        job.watch.note(f"starting Ray for {len(missing)} of {len(job.plan.stages)} stages")
        # Here: importing Ray takes half a second, and a run of which nothing is missing needs none.
        from ulmfit_dist.cluster.scheduling import Scheduler

        Scheduler(job, list(kept)).execute(where, missing)
        return len(missing)

    def _note_finished(self) -> dict[str, float]:
        """Say which stages are there already; return the seconds that each took."""
        kept: dict[str, float] = {}
        for stage in self._job.plan.stages.values():
            if stage.done():
                kept[stage.name] = float(read_json(stage.folder / RECORD_NAME)["seconds"])
                self._job.log.event("stage-skipped", name=stage.name, fingerprint=stage.fingerprint)
                self._job.watch.ended(stage.name, "kept", kept[stage.name])
        return kept
