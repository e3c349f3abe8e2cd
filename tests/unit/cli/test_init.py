"""The surface of the command line, and what each command loads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import typer

from ulmfit_dist.cli import app
from ulmfit_dist.cluster.grid import load_sweep
from ulmfit_dist.cluster.run import plan_recipe
from ulmfit_dist.events import read_events
from ulmfit_dist.files import write_json
from ulmfit_dist.stage import RECORD_NAME
from ulmfit_dist.stages import STAGES

COMMANDS = {
    "run", "plan", "ingest", "train-tokenizer", "tokenize", "pretrain", "lr-find", "finetune-lm", "train-classifier",
    "ensemble", "baseline", "leakage", "evaluate", "predict", "report", "verify", "doctor", "import-weights",
    "export-weights", "submit", "status", "watch", "cancel", "new-language", "site",
}  # fmt: skip


def test_the_commands_are_these_and_each_shows_an_example() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    commands = group.commands  # type: ignore[attr-defined]
    assert set(commands) == COMMANDS
    for name, command in commands.items():
        assert f"Example: ulmfit {name}" in (command.help or ""), name


def test_an_error_is_printed_as_it_is_brackets_included(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ulmfit_dist", "plan", str(tmp_path / "[red]" / "r.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert f"error: cannot read {tmp_path}/[red]/r.toml\n" in ended.stderr


def _imported(code: int, *arguments: str) -> set[str]:
    """The modules that a command's own process loads until it ends with this exit code."""
    command = [sys.executable, "-X", "importtime", "-m", "ulmfit_dist", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr[-2000:]
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}


def test_looking_at_a_run_loads_neither_ray_nor_torch() -> None:
    assert not {"torch", "spacy", "matplotlib", "ray", "pandas", "sklearn"} & _imported(2, "status", "nowhere")


def test_help_loads_what_it_shows_and_no_more() -> None:
    loaded = _imported(0, "--help")
    assert {"typer", "ulmfit_dist.cli"} <= loaded
    assert not {"torch", "spacy", "matplotlib", "ray", "pandas", "pyarrow", "numpy", "sklearn"} & loaded


def test_neither_a_plan_nor_a_finished_run_loads_ray(folder: Path, write_recipe: Callable[..., Path]) -> None:
    recipe, run_dir = write_recipe(folder), folder / "run"
    heavy = {"ray", "spacy", "matplotlib", "pandas", "sklearn", "jinja2"}
    assert not heavy & _imported(0, "plan", str(recipe), "--run-dir", str(run_dir))
    planned = plan_recipe(load_sweep(recipe, []), STAGES, run_dir)
    for stage in planned.stages.values():
        write_json(
            stage.folder / RECORD_NAME, {"fingerprint": stage.fingerprint, "kind": stage.spec.kind, "seconds": 1}
        )
        measured: dict[str, object] = {"headline": ["accuracy", "macro_f1"], "systems": [], "final": ""}
        write_json(stage.folder / "metrics.json", measured)
    (run_dir / "report.html").touch()
    assert not heavy & _imported(0, "run", str(recipe), "--run-dir", str(run_dir))
    kinds = [event["kind"] for event in read_events(run_dir / "events.jsonl")]
    assert kinds == ["run-started", *["stage-skipped"] * len(planned.stages), "run-finished"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("tokenize nowhere --tokenizer nowhere --out nowhere", "ulmfit_dist.cluster.settings"),
        ("train-tokenizer nowhere --recipe en/word_60k --out nowhere", "ulmfit_dist.cluster.settings"),
        ("verify nowhere", "ulmfit_dist.corpus.verify"),
    ],
)
def test_a_refused_command_loads_its_own_settings_and_no_more(arguments: str, code: str) -> None:
    loaded = _imported(2, *arguments.split())
    assert code in loaded
    others = {"torch", "spacy", "matplotlib", "ray.train", "ray.data", "pandas", "sklearn", "scipy", "tensorboard"}
    assert not others & loaded
