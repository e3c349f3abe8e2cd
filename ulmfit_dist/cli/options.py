"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Direction = Annotated[str, typer.Option("--direction", help="forward or backward", show_default=False)]
Out = Annotated[Path, typer.Option("--out", help="folder to write", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change a setting, e.g. pretrain.training.epochs=2"),
]
SettingsFrom = Annotated[Path | None, typer.Option("--recipe", help="take the settings from this recipe")]
RunDir = Annotated[Path | None, typer.Option("--run-dir", help="where the run lives; default runs/NAME")]
Address = Annotated[
    str | None, typer.Option("--address", help="a Ray cluster; default RAY_ADDRESS, else one that starts by itself")
]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Recipes = Annotated[
    Path,
    typer.Argument(help="a recipe file, e.g. launch/quickstart.toml, or a shipped one by name", show_default=False),
]
