"""Commands about the machines: are they fit, and what a site needs to start them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ulmfit_dist.cli.options import AsJson
from ulmfit_dist.cli.printing import STDOUT, print_json
from ulmfit_dist.config import data_folder
from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ulmfit_dist.cluster.checks.finding import Finding

_MARKS = {"good": "[green]good   [/]", "warning": "[yellow]warning[/]", "blocks": "[red]blocks [/]"}


def doctor(
    folder: Annotated[Path, typer.Argument(help="where runs would be written")] = Path("runs"),
    address: Annotated[
        str | None, typer.Option("--address", help="a Ray cluster: check every node, and what is between them")
    ] = None,
    shared: Annotated[
        Path | None, typer.Option("--shared", help="a folder that every node should share; with --address")
    ] = None,
    num_nodes: Annotated[int, typer.Option("--nodes", min=1, help="how many nodes the cluster should have")] = 1,
    wait: Annotated[float, typer.Option("--wait", min=0, help="seconds that they may take to appear")] = 0,
    as_json: AsJson = False,
) -> None:
    """Check this machine or a cluster: versions, GPUs, links, storage, who can reach it; each problem with its cure.

    Exit code 1 when something is found that blocks a run.

    Example: ulmfit doctor /shared/runs --address head:6379 --nodes 5 --shared /shared/runs
    """
    from ulmfit_dist.cluster.doctor import Site, examine, examine_site

    if address is None and (shared is not None or num_nodes > 1 or wait):
        raise typer.BadParameter("--shared, --nodes and --wait are about a cluster: give its --address")
    found = examine(folder) if address is None else examine_site(folder, Site(address, num_nodes, wait, shared))
    findings = list(found) if as_json else list(_printed(found))
    if as_json:
        print_json([finding.as_json() for finding in findings])
    if any(finding.level == "blocks" for finding in findings):
        raise typer.Exit(1)


def site(folder: Annotated[Path, typer.Argument(help="where the folder `cluster` is made")] = Path()) -> None:
    """Write the files that sites start from: Slurm, KubeRay, `ray up`, a container, own machines; begin with README.md.

    Example: ulmfit site .
    """
    target = folder / "cluster"
    if target.exists():
        raise InputError(
            f"{target} is there already", found="files of a site, perhaps changed", do="name another folder"
        )
    shutil.copytree(data_folder("cluster"), target)
    STDOUT.print(str(target), markup=False, highlight=False, soft_wrap=True)


def _printed(findings: Iterable[Finding]) -> Iterable[Finding]:
    """Print each finding as soon as it is there, and hand it on."""
    for finding in findings:
        where = f" on {finding.node}" if finding.node else ""
        STDOUT.print(_MARKS[finding.level], end=" ")
        STDOUT.print(f"{finding.subject}{where}: {finding.found}", markup=False, highlight=False, soft_wrap=True)
        if not finding.good:
            STDOUT.print(f"        do: {finding.do}", markup=False, highlight=False, soft_wrap=True)
        yield finding
