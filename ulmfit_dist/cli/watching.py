"""Commands on runs that live elsewhere, or in another process: submitting, how it stands, and stopping."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ulmfit_dist.cli.options import AsJson, Overrides, Recipes, RunDir
from ulmfit_dist.cli.printing import STDERR, STDOUT, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from ulmfit_dist.cluster.status import RunStatus, StageStatus

_INTERVAL_S = 1.0
_WIDTH_OFF_TERMINAL = 160
_MARGIN_ROWS = 6  # title, header, summary
RunFolder = Annotated[Path, typer.Argument(help="a run directory", show_default=False)]


def submit(
    recipe: Recipes,
    overrides: Overrides = None,
    jobs_url: Annotated[
        str, typer.Option("--jobs-url", envvar="ULMFIT_JOBS_URL", help="the cluster's job server")
    ] = "http://127.0.0.1:8265",
    run_dir: RunDir = None,
    code: Annotated[
        str, typer.Option("--code", help="a wheel to send, or `installed`; default: the package that runs here")
    ] = "",
    retries: Annotated[int, typer.Option("--retries", min=0, help="submit again when the job is lost or killed")] = 0,
    detach: Annotated[bool, typer.Option("--detach", help="return once it is accepted")] = False,
) -> None:
    """Run a recipe on a cluster as a Ray job: sends code and recipe, follows the log, ends with the job's exit code.

    Data and run directory are paths that every node sees. Exit code 5 means that the job was lost, 6 that it was
    stopped. Ctrl-C ends the following, not the job.

    Example: ulmfit submit launch/quickstart.toml --jobs-url http://127.0.0.1:8265 --run-dir /shared/runs/quickstart
    """
    from ulmfit_dist.cluster.recipe import load_run_recipe
    from ulmfit_dist.cluster.submitting import Submission, jobs_client, submit_and_follow
    from ulmfit_dist.cluster.submitting import submit as start_job

    settings = load_run_recipe(recipe, overrides or [])
    folder = (run_dir or Path("runs") / settings.name).resolve()
    submission, client = Submission(settings, folder, code, retries), jobs_client(jobs_url)
    if detach:
        STDOUT.print(start_job(client, submission), markup=False, highlight=False)
        return
    try:
        ended = submit_and_follow(client, submission, _write)
    except KeyboardInterrupt:
        STDERR.print(f"the job goes on; stop it with: ulmfit cancel {folder}", markup=False, highlight=False)
        raise typer.Exit(130) from None
    raise typer.Exit(ended)


def status(
    run_dir: RunFolder,
    once: Annotated[bool, typer.Option("--once", help="print it once, also on a terminal")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how a run stands: each stage's state, place, progress, speed, loss, GPU use, tries and time left.

    On a terminal it follows the run until it ends. It reads the run's files only, so the run may live elsewhere.

    Example: ulmfit status runs/quickstart
    """
    from rich.console import Console
    from rich.live import Live

    from ulmfit_dist.cluster.status import RUNNING, RunReader

    reader = RunReader(run_dir)
    found = reader.read()
    if as_json:
        print_json(found.as_json())
    elif once or not STDOUT.is_terminal:
        # A file has no edge where the table would have to end.
        console = STDOUT if STDOUT.is_terminal else Console(width=_WIDTH_OFF_TERMINAL)
        console.print(_table(found, len(found.stages)))
    else:
        rows = max(5, STDOUT.height - _MARGIN_ROWS)
        with Live(_table(found, rows), console=STDOUT, auto_refresh=False) as live:
            while found.state == RUNNING:
                time.sleep(_INTERVAL_S)
                found = reader.read()
                live.update(_table(found, rows), refresh=True)


def watch(
    run_dir: RunFolder,
    port: Annotated[int, typer.Option("--port", help="on 127.0.0.1; 0 takes a free one")] = 8270,
) -> None:
    """Serve a live page of a run to this machine's browsers, until Ctrl-C.

    Example: ulmfit watch runs/quickstart
    """
    from ulmfit_dist.cluster.watching import watch_server

    with watch_server(run_dir, port) as address:
        STDOUT.print(address, markup=False, highlight=False, soft_wrap=True)
        STDERR.print("from another machine: ssh -L, then the same address; Ctrl-C ends it", highlight=False)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return


def cancel(
    run_dir: RunFolder,
    wait: Annotated[float, typer.Option("--wait", help="seconds to wait for the run's end")] = 60.0,
) -> None:
    """Stop a run at its next checkpoint, on whatever machine it lives; the same command continues it.

    Example: ulmfit cancel runs/quickstart
    """
    from ulmfit_dist.cluster.stopping import cancel_run

    ended = cancel_run(run_dir, wait)
    said = "stopped; the same command continues it" if ended else f"asked to stop; still there after {wait:g} s"
    STDOUT.print(f"{run_dir}: {said}", markup=False, highlight=False, soft_wrap=True)
    if not ended:
        raise typer.Exit(1)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _table(found: RunStatus, rows: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    from ulmfit_dist.cluster.status import FAILED, RUNNING, recent

    counts = Counter(stage.state for stage in found.stages)
    where = f" on {found.host}, process {found.pid}" if found.host else ""
    title = Text(f"{found.run_dir}: {found.state}{where}{f'; {found.note}' if found.note else ''}")
    caption = Text(", ".join(f"{count} {state}" for state, count in counts.items()))
    table = Table(box=None, title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("state")
    table.add_column("where")
    table.add_column("progress")
    for name in ("tokens/s", "loss", "GPU", "tries", "time", "left"):
        table.add_column(name, no_wrap=True, justify="right")
    for stage in recent(found.stages, rows):
        style = {RUNNING: "bold", FAILED: "red"}.get(stage.state, "dim")
        table.add_row(*map(Text, _cells(stage)), style=style)
    return table


def _cells(stage: StageStatus) -> list[str]:
    return [
        stage.name,
        stage.state if stage.reason is None else f"{stage.state}: {stage.reason}",
        stage.host or "",
        "" if stage.share is None else f"{stage.share:.0%} {stage.what or ''}",
        "" if stage.tokens_per_s is None else f"{stage.tokens_per_s:,.0f}",
        "" if stage.loss is None else f"{stage.loss:.3f}",
        "" if stage.gpu is None else f"{stage.gpu:.0%}",
        str(stage.attempts or ""),
        _clock(stage.seconds),
        _clock(stage.left or None),
    ]


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
