"""The command line in this process, and small raw files for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ulmfit_dist import cli

Ulmfit = Callable[..., int]
TEXT = "the film is a moving and funny story of a boy and his dog who go to the sea . "


@pytest.fixture
def ulmfit(monkeypatch: pytest.MonkeyPatch) -> Ulmfit:
    """Run `ulmfit` with these arguments; return its exit code."""

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["ulmfit", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return run


@pytest.fixture
def write_recipe() -> Callable[..., Path]:
    """Write a recipe for a corpus and a task that lie beside it."""

    def write(folder: Path, corpus: str = "corpus.csv", task: str = "task.csv") -> Path:
        path = folder / "recipe.toml"
        path.write_text(f'name = "r"\n[corpus]\nsources = ["{corpus}"]\n[task]\nsource = "{task}"\n')
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.csv").write_text("text\n" + "".join(f'"{TEXT}{i}"\n' for i in range(200)))
    (tmp_path / "task.csv").write_text("".join(f'{i % 2},"{TEXT}{i}"\n' for i in range(200)))
    return tmp_path
