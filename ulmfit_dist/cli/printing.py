"""What the commands print: JSON, and tables of plans and results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ulmfit_dist.files import read_json

if TYPE_CHECKING:
    from ulmfit_dist.cluster.estimate import Estimate
    from ulmfit_dist.cluster.plan import Plan, PlannedStage
    from ulmfit_dist.cluster.recipe import Recipe
    from ulmfit_dist.cluster.run import RunResult

STDOUT = Console()
STDERR = Console(stderr=True)


def print_json(value: Any) -> None:
    """Print a result for programs, on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def stage_json(stage: PlannedStage, guess: Estimate) -> dict[str, Any]:
    """Return what `plan --json` says of a stage."""
    return {
        "name": stage.name,
        "kind": stage.spec.kind,
        "fingerprint": stage.fingerprint,
        "done": stage.done(),
        "reads": {name: str(path) for name, path in {**stage.inputs, **stage.remote}.items()},
        "after": list(stage.upstream),
        **vars(guess),
    }


def print_plan(recipe: Recipe, planned: Plan, estimates: dict[str, Estimate]) -> None:
    """Print the stages of a recipe as a table."""
    table = Table(box=None, title=f"{recipe.name}: {len(planned.stages)} stages", title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("reads")
    for name in ("state", "tokens", "time", "memory"):
        table.add_column(name, no_wrap=True, justify="right")
    for stage in planned.stages.values():
        guess = estimates[stage.name]
        reads = ", ".join(stage.upstream) or ", ".join(path.name for path in stage.sources)
        done = stage.done()
        time = f"{guess.seconds:,.1f} s" if done else f"~{guess.seconds:,.0f} s"
        tokens = f"{guess.tokens:,.0f}" if guess.tokens else ""
        state = "[green]done[/]" if done else "to run"
        table.add_row(stage.name, reads, state, tokens, time, f"~{guess.memory_mb:,.0f} MB")
    STDOUT.print(table)
    left = sum(estimates[s.name].seconds * s.spec.cpus for s in planned.stages.values() if not s.done())
    STDOUT.print(f"still to do: about {left:,.0f} CPU seconds" if left else "nothing left to do", highlight=False)


def run_json(result: RunResult) -> dict[str, Any]:
    """Return what `run --json` says of a run."""
    return {
        "run_dir": str(result.run_dir),
        "stages": len(result.plan.stages),
        "ran": result.ran,
        "report": str(result.report),
        "metrics": _metrics(result),
    }


def print_result(result: RunResult) -> None:
    """Print a run's scores as a table, and where its report is."""
    metrics = _metrics(result)
    if metrics:
        first, second = metrics["headline"][:2]
        first_name, second_name = (key.replace("_f1", "-F1") for key in (first, second))
        table = Table("on the test split", first_name, "95 % interval", second_name, box=None)
        for row in metrics["systems"]:
            name = f"[bold]{row['name']}[/]" if row["name"] == metrics["final"] else row["name"]
            table.add_row(name, *_percent(row[first]), f"{row[second]['value']:.3f}")
        STDOUT.print(table)
    STDOUT.print(f"report: {_from_here(result.report)}", markup=False, highlight=False, soft_wrap=True)


def _metrics(result: RunResult) -> dict[str, Any]:
    folder = result.plan.stages["evaluate"].folder if "evaluate" in result.plan.stages else None
    return dict(read_json(folder / "metrics.json")) if folder else {}


def _percent(interval: dict[str, float]) -> tuple[str, str]:
    return f"{interval['value']:.1%}", f"{interval['low']:.1%} - {interval['high']:.1%}"


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
