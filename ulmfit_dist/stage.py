"""Stages: one step of a run with declared inputs, settings and outputs.

Every stage is a function of one signature, `StageCall -> Summary`; where it runs (this process, a Ray task) is the
coordinator's business. A stage is done when its folder holds `stage.json`, written last; without it, it did not happen.
"""

from __future__ import annotations

import platform
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from ulmfit_dist.config import Settings, save_toml
from ulmfit_dist.errors import DigestError
from ulmfit_dist.events import EVENTS_NAME, EventLog, Reporter
from ulmfit_dist.files import (
    TEMPORARY_MARK,
    digest_file,
    fingerprint,
    read_json,
    storage_error,
    sweep_temporaries,
    write_bytes,
    write_json,
)

FORMAT_VERSION = 1
RECORD_NAME = "stage.json"
RECIPE_NAME = "recipe.toml"
# A file of this name in a stage's folder asks its trainer to write a checkpoint and stop.
STOP_NAME = "stop"
# In a stage's name: what follows tells it from the same stage of other runs (cluster/union.py).
LABEL_MARK = "@"
_IDENTITY_NAME = "fingerprint"
_VERSIONED = ("torch", "ray", "spacy", "sentencepiece", "numpy", "h5py", "scikit-learn")

_NOT_OUTPUTS = (EVENTS_NAME, RECORD_NAME, STOP_NAME, _IDENTITY_NAME)

S = TypeVar("S", bound=Settings)
Summary = dict[str, Any]


@dataclass(frozen=True)
class StageCall(Generic[S]):
    """What a stage function gets: checked settings, input folders or files by name, its own folder, and a reporter."""

    settings: S
    inputs: Mapping[str, Path]
    out: Path
    reporter: Reporter


def _none(_: Settings) -> bool:
    return False


@dataclass(frozen=True)
class StageKind(Generic[S]):
    """A row of the stage table. Raise `version` by hand when the code starts to give other results.

    resumable: the function continues from what an attempt of the same fingerprint left; otherwise that is removed.
    own_workers: whether, with these settings, the function starts Ray actors that hold its CPUs and GPUs; its own
    process then counts for none.
    """

    name: str
    version: int
    function: Callable[[StageCall[S]], Summary]
    resumable: bool = False
    own_workers: Callable[[S], bool] = _none


def stage_fingerprint(kind: StageKind[Any], settings: Settings, inputs: Mapping[str, str]) -> str:
    """Return the identity of a stage's result; `inputs` maps each input name to a fingerprint or source digest."""
    return fingerprint(
        {
            "kind": kind.name,
            "version": kind.version,
            "format": FORMAT_VERSION,
            "settings": settings.semantic(),
            "inputs": dict(inputs),
        }
    )


def is_done(out: Path, identity: str | None = None) -> bool:
    """Whether the folder holds a finished stage (of this fingerprint, if one is given)."""
    record = out / RECORD_NAME
    return record.is_file() and (identity is None or read_json(record)["fingerprint"] == identity)


def run_stage(kind: StageKind[S], call: StageCall[S], identity: str) -> Summary:
    """Run one stage to its `stage.json`; a finished one of the same fingerprint is returned as it stands.

    Raises what the stage raises; a full disk or missing rights become a DataError that says so.
    """
    try:
        return _run_stage(kind, call, identity)
    except OSError as error:
        if (known := storage_error(error)) is not None:
            raise known from error
        raise


def verify_stage(out: Path) -> list[DigestError]:
    """Compare every output of a finished stage with its digest; one error for each file that differs."""
    record = read_json(out / RECORD_NAME)
    bad = []
    for name, expected in record["outputs"].items():
        path = out / name
        found = digest_file(path) if path.is_file() else "no file"
        if found != expected["xxh3_128"]:
            bad.append(
                DigestError(
                    f"{path} is not what {out / RECORD_NAME} says",
                    found=f"{found}, expected {expected['xxh3_128']}",
                    do=f"delete {out} and run the same command again",
                )
            )
    return bad


def stage_reporter(out: Path) -> EventLog:
    """Return the reporter that a stage of this folder writes to."""
    return EventLog(out / EVENTS_NAME)


def _run_stage(kind: StageKind[S], call: StageCall[S], identity: str) -> Summary:
    if is_done(call.out, identity):
        return dict(read_json(call.out / RECORD_NAME)["summary"])
    call.out.mkdir(parents=True, exist_ok=True)
    attempted = call.out / _IDENTITY_NAME
    if not (kind.resumable and attempted.exists() and attempted.read_text() == identity):
        _empty(call.out)
    sweep_temporaries(call.out)
    write_bytes(attempted, identity.encode())
    save_toml(call.out / RECIPE_NAME, call.settings)
    started = time.time()
    summary = kind.function(call)
    sweep_temporaries(call.out)  # of workers that were killed meanwhile
    _commit(kind, call, identity, summary, started)
    return summary


def _commit(kind: StageKind[S], call: StageCall[S], identity: str, summary: Summary, started: float) -> None:
    outputs = {
        str(path.relative_to(call.out)): {"bytes": path.stat().st_size, "xxh3_128": digest_file(path)}
        for path in sorted(call.out.rglob("*"))
        if path.is_file() and path.name not in _NOT_OUTPUTS and TEMPORARY_MARK not in path.name
    }
    record = {
        "kind": kind.name,
        "version": kind.version,
        "format": FORMAT_VERSION,
        "fingerprint": identity,
        "inputs": {name: str(path) for name, path in call.inputs.items()},
        "settings": call.settings.model_dump(mode="json"),
        "summary": summary,
        "outputs": outputs,
        "seconds": round(time.time() - started, 3),
        "host": socket.gethostname(),
        "versions": _versions(),
    }
    write_json(call.out / RECORD_NAME, record)


@cache
def _versions() -> dict[str, str]:
    # Once a process, which runs many stages: reading the metadata takes 5 ms.
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _VERSIONED}}


def _empty(out: Path) -> None:
    for path in out.iterdir():
        if path.name == EVENTS_NAME:
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
