"""A run directory as a coordinator leaves it, written by hand."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import psutil

from ulmfit_dist.cluster.lock import OWNER_NAME, _machine
from ulmfit_dist.files import write_json

STAGES = {"ingest": [], "pretrain": ["ingest"], "classify": ["pretrain"], "report": ["classify"], "other": []}


def make_run(folder: Path) -> Path:
    """Write plan.json with five stages and no events yet."""
    rows = [
        {"name": n, "kind": n, "fingerprint": f"{n}-1", "folder": f"stages/{n}-1", "inputs": {}, "upstream": up}
        for n, up in STAGES.items()
    ]
    write_json(folder / "plan.json", {"stages": rows})
    tell(folder, 0.0, "run-started", stages=len(rows))
    return folder


def tell(run_dir: Path, moment: float, kind: str, **fields: Any) -> None:
    """Append an event of the run."""
    _append(run_dir / "events.jsonl", {"time": moment, "kind": kind, **fields})


def progress(run_dir: Path, stage: str, moment: float, **fields: Any) -> None:
    """Append a progress event of a stage."""
    _append(run_dir / "stages" / f"{stage}-1" / "events.jsonl", {"time": moment, "kind": "progress", **fields})


def own(run_dir: Path, **changes: Any) -> None:
    """Let this process own the run, or another one by `changes`."""
    process = psutil.Process()
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": process.create_time(), "machine": _machine()}
    (run_dir / OWNER_NAME).write_text(json.dumps({**owner, **changes}))


def _append(path: Path, event: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(event) + "\n")
