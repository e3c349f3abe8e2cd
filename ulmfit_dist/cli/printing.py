"""What the commands print: JSON, and tables of plans and results."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ulmfit_dist.files import read_json
from ulmfit_dist.stage import LABEL_MARK

if TYPE_CHECKING:
    from ulmfit_dist.cluster.estimate import Estimate
    from ulmfit_dist.cluster.plan import Plan, PlannedStage
    from ulmfit_dist.cluster.run import RunResult

_MOST_NAMES = 6
_LANGUAGES_WIDTH = 120
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


def print_plan(title: str, planned: Plan, estimates: dict[str, Estimate]) -> None:
    """Print the stages of a plan as a table; those that only runs tell apart are one row, with their number."""
    table = Table(box=None, title=f"{title}: {len(planned.stages)} stages", title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("reads")
    for name in ("state", "tokens", "time", "memory"):
        table.add_column(name, no_wrap=True, justify="right")
    for name, stages in _by_plain_name(planned).items():
        guesses = [estimates[stage.name] for stage in stages]
        done = sum(stage.done() for stage in stages)
        seconds, tokens = sum(guess.seconds for guess in guesses), sum(guess.tokens for guess in guesses)
        table.add_row(
            f"{name} x {len(stages)}" if len(stages) > 1 else name,
            _reads(stages),
            "[green]done[/]" if done == len(stages) else f"{done} done" if done else "to run",
            f"{tokens:,.0f}" if tokens else "",
            f"{seconds:,.1f} s" if done == len(stages) else f"~{seconds:,.0f} s",
            f"~{max(guess.memory_mb for guess in guesses):,.0f} MB",
        )
    STDOUT.print(table)
    left = [stage for stage in planned.stages.values() if not stage.done()]
    cpu = sum(estimates[stage.name].seconds * stage.spec.cpus for stage in left)
    gpu = sum(estimates[stage.name].seconds * stage.spec.gpus for stage in left) / 3600
    said = f"still to do: about {cpu:,.0f} CPU seconds" + (f" and {gpu:,.3g} GPU-hours" if gpu else "")
    STDOUT.print(said if left else "nothing left to do", highlight=False)


def run_json(result: RunResult) -> dict[str, Any]:
    """Return what `run --json` says of a run."""
    return {
        "run_dir": str(result.run_dir),
        "stages": len(result.plan.stages),
        "ran": result.ran,
        "report": str(result.report),
        "metrics": _outcome(result, "evaluate", "metrics.json"),
        "comparison": _outcome(result, "compare", "comparison.json"),
        "languages": _languages(result.run_dir),
    }


def print_result(result: RunResult) -> None:
    """Print a run's scores as a table, and where its report is."""
    if comparison := _outcome(result, "compare", "comparison.json"):
        _print_comparison(comparison)
    elif metrics := _outcome(result, "evaluate", "metrics.json"):
        first, second = metrics["headline"][:2]
        first_name, second_name = (key.replace("_f1", "-F1") for key in (first, second))
        table = Table("on the test split", first_name, "95 % interval", second_name, box=None)
        for row in metrics["systems"]:
            name = f"[bold]{row['name']}[/]" if row["name"] == metrics["final"] else row["name"]
            table.add_row(name, *_percent(row[first]), f"{row[second]['value']:.3f}")
        STDOUT.print(table)
    elif rows := _languages(result.run_dir):
        _print_languages(rows)
    STDOUT.print(f"report: {_from_here(result.report)}", markup=False, highlight=False, soft_wrap=True)


def print_languages(run_dir: Path, *, as_json: bool) -> None:
    """Print what a run has of each of its languages; nothing where it is of none."""
    rows = _languages(run_dir)
    if rows and as_json:
        print_json({"run_dir": str(run_dir), "languages": rows})
    elif rows:
        _print_languages(rows)


def _print_languages(rows: Sequence[dict[str, Any]]) -> None:
    table = Table("language", box=None)
    for name in ("documents", "member", "tokens", "perplexity", "bits/char", "unknown", "hours"):
        table.add_column(name, justify="left" if name == "member" else "right")
    for row in rows:
        documents = f"{row['documents']:,}"
        for place, member in enumerate(row["members"]):
            measured = [
                "" if member[key] is None else f"{member[key]:{how}}"
                for key, how in (("perplexity", ",.1f"), ("bits_per_character", ".3f"), ("unknown_rate", ".2%"))
            ]
            first = (row["language"], documents) if place == 0 else ("", "")
            table.add_row(*first, member["member"], f"{member['tokens'] or 0:,}", *measured, f"{member['hours']:.2f}")
        if row["reason"]:
            table.add_row(*(("", "") if row["members"] else (row["language"], documents)), f"[red]{row['state']}[/]")
            STDERR.print(f"{row['language']}: {row['reason']}", markup=False, highlight=False, soft_wrap=True)
    # Into a pipe the console takes 80 columns, and would cut names and numbers to fit.
    (STDOUT if STDOUT.is_terminal else Console(width=_LANGUAGES_WIDTH)).print(table)


def _languages(run_dir: Path) -> list[dict[str, Any]]:
    from ulmfit_dist.report.languages import read_languages  # here: numpy, which `--help` does without

    return read_languages(run_dir)


def _print_comparison(comparison: dict[str, Any]) -> None:
    measure = comparison["headline"][0]
    names = measure.replace("_f1", "-F1"), f"{comparison['level']:.0%} interval"
    table = Table("run", "system", *names, "interval over", box=None)
    for row in comparison["rows"]:
        if row["kind"] == "majority":
            continue
        found = row["measures"][measure]
        interval = _percent({"value": found["mean"], **found})
        style = "[bold]{}[/]" if row["final"] else "{}"
        over = row["interval"].rpartition("over ")[2]
        table.add_row(row["label"], style.format(row["system"]), *interval, over)
    STDOUT.print(table)


def _outcome(result: RunResult, stage: str, name: str) -> dict[str, Any]:
    folder = result.plan.stages[stage].folder if stage in result.plan.stages else None
    return dict(read_json(folder / name)) if folder else {}


def _by_plain_name(planned: Plan) -> dict[str, list[PlannedStage]]:
    stages: dict[str, list[PlannedStage]] = {}
    for stage in planned.stages.values():
        stages.setdefault(stage.name.partition(LABEL_MARK)[0], []).append(stage)
    return stages


def _reads(stages: Sequence[PlannedStage]) -> str:
    upstream = {name.partition(LABEL_MARK)[0]: None for stage in stages for name in stage.upstream}
    names = list(upstream or {path.name: None for stage in stages for path in stage.sources})
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else shown


def _percent(interval: dict[str, float]) -> tuple[str, str]:
    return f"{interval['value']:.1%}", f"{interval['low']:.1%} - {interval['high']:.1%}"


def _from_here(path: Path) -> Path:
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return path  # two nodes of one machine unpack a job's folder anew under its driver
    return path.relative_to(here) if path.is_relative_to(here) else path
