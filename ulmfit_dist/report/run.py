"""What a run directory says: the files of its stages, read and never changed.

The stages of the last plan are taken (`plan.json`); folders of earlier settings beside them are left alone. Without a
plan, every finished stage folder counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulmfit_dist.errors import InputError
from ulmfit_dist.events import EVENTS_NAME, read_events
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import LABEL_MARK, RECIPE_NAME, RECORD_NAME

PLAN_NAME = "plan.json"
CURVES_NAME = "curves.json"
METRICS_NAME = "metrics.json"
COMPARISON_NAME = "comparison.json"
TRIALS_NAME = "trials.json"
REPORT_NAME = "report.html"


@dataclass(frozen=True)
class StageFiles:
    """One stage of the run. `record` is its stage.json, or empty when the stage is not done."""

    name: str
    kind: str
    folder: Path
    record: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def shared(self) -> bool:
        """Whether every run of the plan has this stage: of several runs, those that differ have a label."""
        return LABEL_MARK not in self.name

    @property
    def summary(self) -> dict[str, Any]:
        """The stage's own summary; empty when it is not done."""
        return dict(self.record.get("summary", {}))

    @property
    def seconds(self) -> float:
        """How long the finishing attempt took; 0 when it is not done."""
        return float(self.record.get("seconds", 0.0))

    def json(self, name: str) -> Any:
        """Return a JSON file of the stage folder, or None when it is not there."""
        path = self.folder / name
        return read_json(path) if path.is_file() else None


@dataclass(frozen=True)
class RunFiles:
    """A run directory: its recipe as text, its own events, and its stages in the plan's order."""

    folder: Path
    recipe: str
    events: list[dict[str, Any]]
    stages: list[StageFiles]

    def of(self, prefix: str) -> list[StageFiles]:
        """Return the stages of that name, or whose names begin with it and a dash."""
        return [stage for stage in self.stages if stage.name == prefix or stage.name.startswith(f"{prefix}-")]

    def one(self, name: str) -> StageFiles | None:
        """Return the finished stage of that name, if there is one."""
        return next((stage for stage in self.stages if stage.name == name and stage.record), None)


def read_run(folder: Path) -> RunFiles:
    """Read a run directory; InputError when the folder is not one."""
    if not (folder / PLAN_NAME).is_file() and not (folder / "stages").is_dir():
        raise InputError(f"{folder} is not a run directory", found="neither plan.json nor stages/", do="name a run")
    recipe = folder / RECIPE_NAME
    rows = read_json(folder / PLAN_NAME)["stages"] if (folder / PLAN_NAME).is_file() else _rows_of_folders(folder)
    return RunFiles(
        folder=folder,
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        events=read_events(folder / EVENTS_NAME),
        stages=[read_stage(row["name"], row["kind"], folder / row["folder"]) for row in rows],
    )


def member_of(stage: str) -> str:
    """Return the member that a stage's name ends with: `classifier-word-forward` -> `word-forward`."""
    return stage.partition("-")[2]


def read_stage(name: str, kind: str, folder: Path) -> StageFiles:
    """Return the files of one stage's folder, done or not."""
    record = folder / RECORD_NAME
    return StageFiles(
        name, kind, folder, read_json(record) if record.is_file() else {}, read_events(folder / EVENTS_NAME)
    )


def _rows_of_folders(folder: Path) -> list[dict[str, str]]:
    return [
        {
            "name": record.parent.name.rpartition("-")[0],
            "kind": read_json(record)["kind"],
            "folder": f"stages/{record.parent.name}",
        }
        for record in sorted((folder / "stages").glob(f"*/{RECORD_NAME}"))
    ]
