"""Commands on whole recipes and their runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ulmfit_dist.cli.options import Address, AsJson, Overrides, Recipes, RunDir
from ulmfit_dist.cli.printing import (
    STDERR,
    STDOUT,
    print_json,
    print_languages,
    print_plan,
    print_result,
    run_json,
    stage_json,
)
from ulmfit_dist.errors import DataError, InputError, PartialError
from ulmfit_dist.files import write_bytes

if TYPE_CHECKING:
    from ulmfit_dist.cluster.grid import Sweep

TrainSizes = Annotated[
    str | None, typer.Option("--train-sizes", metavar="N,N,...", help="a low-shot curve: a run for each size")
]
Seeds = Annotated[str | None, typer.Option("--seeds", metavar="N,N,...", help="repeat with each seed, with intervals")]
Folds = Annotated[int | None, typer.Option("--folds", help="cross-validate: so many folds of the task's one source")]


def run(
    recipe: Recipes,
    overrides: Overrides = None,
    train_sizes: TrainSizes = None,
    seeds: Seeds = None,
    folds: Folds = None,
    address: Address = None,
    run_dir: RunDir = None,
    cpus: Annotated[int | None, typer.Option("--cpus", help="CPUs for the Ray that starts by itself")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a whole recipe; run again to continue, finished stages are kept.

    --train-sizes, --seeds and --folds are short for [grid] "classifier.train_size", [grid] seed and [task] folds.

    Example: ulmfit run launch/quickstart.toml --set pretrain.training.epochs=2 --run-dir runs/longer
    """
    from ulmfit_dist.cluster.console import make_watch
    from ulmfit_dist.cluster.grid import load_sweep
    from ulmfit_dist.cluster.run import run_recipe
    from ulmfit_dist.cluster.session import Where
    from ulmfit_dist.stages import STAGES

    sweep = load_sweep(recipe, [*(overrides or []), *_sweep_settings(train_sizes, seeds, folds)])
    where = (Where.choose(address, cpus), make_watch(STDERR))
    folder = _run_dir(sweep, run_dir)
    try:
        result = run_recipe(sweep, STAGES, folder, where)
    except (PartialError, DataError):
        print_languages(folder, as_json=as_json)
        raise
    if as_json:
        print_json(run_json(result))
    else:
        print_result(result)


def plan(
    recipe: Recipes,
    overrides: Overrides = None,
    train_sizes: TrainSizes = None,
    seeds: Seeds = None,
    folds: Folds = None,
    run_dir: RunDir = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="draw the plan into this file too")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the stages of a recipe: done or not, what each reads, tokens, estimated time and memory. Starts no Ray.

    Example: ulmfit plan launch/quickstart.toml --svg plan.svg
    """
    from ulmfit_dist.cluster.drawing import draw_plan
    from ulmfit_dist.cluster.estimate import estimates
    from ulmfit_dist.cluster.grid import load_sweep
    from ulmfit_dist.cluster.run import plan_recipe
    from ulmfit_dist.stages import STAGES

    sweep = load_sweep(recipe, [*(overrides or []), *_sweep_settings(train_sizes, seeds, folds)])
    planned = plan_recipe(sweep, STAGES, _run_dir(sweep, run_dir))
    guesses = estimates(planned)
    title = sweep.recipe.name + (f", {len(sweep.choices)} runs" if len(sweep.choices) > 1 else "")
    if svg is not None:
        write_bytes(svg, draw_plan(title, planned, guesses))
    if as_json:
        print_json([stage_json(stage, guesses[stage.name]) for stage in planned.stages.values()])
    else:
        print_plan(title, planned, guesses)


def report(
    path: Annotated[Path, typer.Argument(help="a run directory, or the folder of an ingest", show_default=False)],
) -> None:
    """Write the report.html of a run or of a crawl again and print its path; of a crawl a report.json too.

    Example: ulmfit report runs/quickstart
    """
    from ulmfit_dist.report.crawl import is_crawl_stage
    from ulmfit_dist.report.render import render_crawl, render_report

    written = render_crawl(path) if is_crawl_stage(path) else render_report(path)
    STDOUT.print(str(written), markup=False, highlight=False, soft_wrap=True)


def _sweep_settings(train_sizes: str | None, seeds: str | None, folds: int | None) -> list[str]:
    lists = {"classifier.train_size": ("--train-sizes", train_sizes), "seed": ("--seeds", seeds)}
    found = [f"grid.{key}=[{_numbers(option, text)}]" for key, (option, text) in lists.items() if text is not None]
    return found if folds is None else [*found, f"task.folds={folds}"]


def _numbers(option: str, text: str) -> str:
    numbers = text.replace(" ", "").split(",")
    if not all(number.isdecimal() for number in numbers):
        raise InputError(f"{option} takes numbers", found=repr(text), do=f"write {option} 100,200,500")
    return ", ".join(str(int(number)) for number in numbers)


def _run_dir(sweep: Sweep, run_dir: Path | None) -> Path:
    return (run_dir or Path("runs") / sweep.recipe.name).resolve()
