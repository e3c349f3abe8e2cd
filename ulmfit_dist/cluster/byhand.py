"""One stage by hand, on the files of the stage before: what the single commands of the CLI do."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from ulmfit_dist.cluster.console import Watch, describe_estimate
from ulmfit_dist.cluster.plan import SourceDigests
from ulmfit_dist.cluster.room import ON_RANKS
from ulmfit_dist.cluster.session import Where, ray_session
from ulmfit_dist.cluster.stopping import signals_as_stop
from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.locations import Location, RemotePath
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import EVENTS_NAME, EventLog, Silent
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import (
    RECIPE_NAME,
    RECORD_NAME,
    STOP_NAME,
    StageCall,
    StageKind,
    Summary,
    run_stage,
    stage_fingerprint,
)

S = TypeVar("S", bound=Settings)
# Their loops look at the request to stop; another stage ends at a signal as any process does.
_TRAINERS = ("pretrain", "finetune-lm", "train-classifier")


class _ShownLog(EventLog):
    """A stage's event log that also shows its progress."""

    def __init__(self, path: Path, stage: str, watch: Watch) -> None:
        super().__init__(path)
        self._stage, self._watch = stage, watch

    def event(self, kind: str, **fields: Any) -> None:
        super().event(kind, **fields)
        if kind == "estimate":
            self._watch.note(describe_estimate(fields))

    def progress(self, done: float, total: float, **metrics: Any) -> None:
        super().progress(done, total, **metrics)
        self._watch.progress(self._stage, {"done": done, "total": total, **metrics})


def run_by_hand(
    kind: StageKind[S], settings: S, inputs: Mapping[str, Location], out: Path, where: tuple[Where, Watch]
) -> Summary | None:
    """Run one stage into `out`; the same command again continues it, or finds it done.

    Under torchrun a training is run by its processes together, and all but the first return None.
    Raises InputError for an input that is not there, or an `out` that holds something else (nothing is overwritten);
    SignalledError when a training was ended, with a checkpoint, by SIGTERM or SIGINT.
    """
    local = {name: path for name, path in inputs.items() if isinstance(path, Path)}
    for name, path in local.items():
        if not path.exists():
            raise InputError(f"no {name} at {path}", found="no such file or folder", do="check the path")
    identity = stage_fingerprint(kind, settings, {name: _identity(path) for name, path in inputs.items()})
    resolved = {name: path.resolve() for name, path in local.items()}
    session, watch = where
    if _is_rank(kind) and os.environ["RANK"] != "0":
        _run(kind, StageCall(settings, resolved, out.resolve(), Silent()), identity, session)
        return None
    _check_out(out, kind.name, identity)
    started = time.monotonic()
    watch.started(kind.name)
    try:
        call = StageCall(settings, resolved, out.resolve(), _ShownLog(out / EVENTS_NAME, kind.name, watch))
        summary = _run(kind, call, identity, session)
    finally:
        watch.close()
    watch.ended(kind.name, "done", time.monotonic() - started)
    return summary


def _run(kind: StageKind[Any], call: StageCall[Any], identity: str, session: Where) -> Summary:
    if _is_rank(kind):
        from ulmfit_dist.cluster.ranks import run_as_rank  # torch, which tokenizing does without

        return run_as_rank(kind, call, identity)
    # Ingest starts Ray only for sources of more than one piece, and that by itself: most are read in a second.
    alone = not kind.own_workers(call.settings) or isinstance(call.settings, IngestSettings)
    stops = signals_as_stop(call.out / STOP_NAME) if kind.name in _TRAINERS else contextlib.nullcontext()
    # Signals inside the session: Ray sets handlers of its own when it starts.
    with contextlib.nullcontext() if alone else ray_session(session), stops:
        return run_stage(kind, call, identity)


def _is_rank(kind: StageKind[Any]) -> bool:
    """Whether torchrun has started this process to be one rank of the stage; InputError where that has no ranks."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return False
    if kind.name in ON_RANKS:
        return True
    if (processes := os.environ["WORLD_SIZE"]) != "1":
        do = f"start it without torchrun, whose ranks train together in {' and '.join(ON_RANKS)} alone"
        raise InputError(f"{kind.name} runs in one process", found=f"{processes} processes of torchrun", do=do)
    return False


def _identity(path: Location) -> str:
    """The fingerprint of the stage that made a path, with the place inside it, else the digest of its content."""
    if isinstance(path, RemotePath):
        return SourceDigests(None).digest(path)
    for folder in (path, *path.resolve().parents):
        if (folder / RECORD_NAME).is_file():
            return f"{read_json(folder / RECORD_NAME)['fingerprint']}/{path.resolve().relative_to(folder.resolve())}"
    return SourceDigests(None).digest(path)


def _check_out(out: Path, kind: str, identity: str) -> None:
    if not out.exists() or not any(path.name != EVENTS_NAME for path in out.iterdir()):
        return
    record = out / RECORD_NAME
    if record.is_file() and read_json(record)["fingerprint"] != identity:
        raise InputError(
            f"{out} holds another result",
            found=f"a finished {read_json(record)['kind']} stage with other inputs or settings",
            do=f"give another --out for this {kind}",
        )
    if not record.is_file() and not (out / RECIPE_NAME).is_file():
        raise InputError(f"{out} is not empty", found="files of something else", do="give a new folder as --out")
