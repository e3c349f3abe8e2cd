"""A whole recipe: check it, own the run directory, plan, execute, report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmfit_dist.cluster.console import Watch
from ulmfit_dist.cluster.coordinator import Coordinator
from ulmfit_dist.cluster.grid import Sweep
from ulmfit_dist.cluster.lock import owned
from ulmfit_dist.cluster.plan import Plan, SourceDigests, make_plan
from ulmfit_dist.cluster.union import checked_specs
from ulmfit_dist.errors import DataError, InputError, PartialError
from ulmfit_dist.files import write_bytes
from ulmfit_dist.report.languages import write_languages
from ulmfit_dist.report.run import REPORT_NAME
from ulmfit_dist.stage import RECIPE_NAME, StageKind

if TYPE_CHECKING:
    from ulmfit_dist.cluster.session import Where

_FREE_BYTES = 500_000_000  # a quickstart writes 77 MB; a run that starts with less would only fail later


@dataclass(frozen=True)
class RunResult:
    """What a run left: its directory, its plan, how many stages ran now, and the report."""

    run_dir: Path
    plan: Plan
    ran: int
    report: Path


def plan_recipe(sweep: Sweep, kinds: Mapping[str, StageKind[Any]], run_dir: Path) -> Plan:
    """Check a recipe's sources and plan the stages of its runs; writes nothing and starts no Ray.

    Raises InputError for a source that is missing or cannot be what the recipe says.
    """
    return make_plan(checked_specs(sweep), kinds, run_dir, SourceDigests(run_dir))


def run_recipe(
    sweep: Sweep, kinds: Mapping[str, StageKind[Any]], run_dir: Path, where: tuple[Where, Watch]
) -> RunResult:
    """Run every unfinished stage of a recipe's runs in `run_dir`, then write the report.

    Raises InputError before any work for bad input, LockedError when another live run owns the directory, and what the
    coordinator raises.
    """
    session, watch = where
    session = replace(session, scaling_seconds=sweep.recipe.resources.scaling_seconds)
    specs = checked_specs(sweep)
    _check_space(run_dir)
    with owned(run_dir):
        digests = SourceDigests(run_dir)
        plan = make_plan(specs, kinds, run_dir, digests)
        digests.save()
        write_bytes(run_dir / RECIPE_NAME, sweep.recipe.toml())
        try:
            ran = Coordinator(plan, kinds, run_dir, watch).execute(session)
        except (PartialError, DataError):
            # The branches that are done are worth a report, and it says why the others are not.
            write_languages(run_dir)
            _render(run_dir)
            raise
        finally:
            watch.close()
        changed = write_languages(run_dir)
        report = run_dir / REPORT_NAME
        if ran or changed or not report.exists():
            _render(run_dir)
    return RunResult(run_dir, plan, ran, report)


def _render(run_dir: Path) -> None:
    from ulmfit_dist.report.render import render_report  # here: matplotlib takes half a second to load

    render_report(run_dir)


def _check_space(run_dir: Path) -> None:
    existing = next(path for path in (run_dir.resolve(), *run_dir.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < _FREE_BYTES:
        raise InputError(
            f"too little space for {run_dir}",
            found=f"{free / 1e6:,.0f} MB free, {_FREE_BYTES / 1e6:,.0f} MB needed",
            do="free space or choose another --run-dir",
        )
