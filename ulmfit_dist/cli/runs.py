"""Commands on whole recipes and their runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ulmfit_dist.cli.options import Address, AsJson, Overrides, Recipes, RunDir
from ulmfit_dist.cli.printing import STDERR, STDOUT, print_json, print_plan, print_result, run_json, stage_json

if TYPE_CHECKING:
    from ulmfit_dist.cluster.recipe import Recipe


def run(
    recipe: Recipes,
    overrides: Overrides = None,
    address: Address = None,
    run_dir: RunDir = None,
    cpus: Annotated[int | None, typer.Option("--cpus", help="CPUs for the Ray that starts by itself")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a whole recipe; run again to continue, finished stages are kept.

    Example: ulmfit run launch/quickstart.toml --set pretrain.training.epochs=2 --run-dir runs/longer
    """
    from ulmfit_dist.cluster.console import make_watch
    from ulmfit_dist.cluster.recipe import load_run_recipe
    from ulmfit_dist.cluster.run import run_recipe
    from ulmfit_dist.cluster.session import Where
    from ulmfit_dist.stages import STAGES

    settings = load_run_recipe(recipe, overrides or [])
    where = (Where.choose(address, cpus), make_watch(STDERR))
    result = run_recipe(settings, STAGES, _run_dir(settings, run_dir), where)
    if as_json:
        print_json(run_json(result))
    else:
        print_result(result)


def plan(recipe: Recipes, overrides: Overrides = None, run_dir: RunDir = None, as_json: AsJson = False) -> None:
    """Show the stages of a recipe: done or not, what each reads, tokens, estimated time and memory. Starts no Ray.

    Example: ulmfit plan launch/quickstart.toml
    """
    from ulmfit_dist.cluster.estimate import estimate
    from ulmfit_dist.cluster.recipe import load_run_recipe
    from ulmfit_dist.cluster.run import plan_recipe
    from ulmfit_dist.stages import STAGES

    settings = load_run_recipe(recipe, overrides or [])
    planned = plan_recipe(settings, STAGES, _run_dir(settings, run_dir))
    estimates = {stage.name: estimate(stage, settings, planned) for stage in planned.stages.values()}
    if as_json:
        print_json([stage_json(stage, estimates[stage.name]) for stage in planned.stages.values()])
    else:
        print_plan(settings, planned, estimates)


def report(run_dir: Annotated[Path, typer.Argument(help="a run directory", show_default=False)]) -> None:
    """Write the run's report.html again and print its path.

    Example: ulmfit report runs/quickstart
    """
    from ulmfit_dist.report.render import render_report

    STDOUT.print(str(render_report(run_dir)), markup=False, highlight=False, soft_wrap=True)


def _run_dir(recipe: Recipe, run_dir: Path | None) -> Path:
    return (run_dir or Path("runs") / recipe.name).resolve()
