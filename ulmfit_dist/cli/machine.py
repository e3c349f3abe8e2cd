"""Commands about the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ulmfit_dist.cli.options import AsJson
from ulmfit_dist.cli.printing import STDOUT, print_json


def doctor(
    folder: Annotated[Path, typer.Argument(help="where runs would be written")] = Path("runs"), as_json: AsJson = False
) -> None:
    """Check this machine: Python, torch, Ray, memory, disk; each problem with its cure.

    Example: ulmfit doctor
    """
    from ulmfit_dist.cluster.doctor import examine

    findings = list(examine(folder))
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]good[/]" if finding.good else "[red]bad [/]"
            cure = "" if finding.good else f"; do: {finding.do}"
            STDOUT.print(f"{mark} {finding.subject}: {finding.found}{cure}", highlight=False, soft_wrap=True)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)
