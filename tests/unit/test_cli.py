"""The command line: its surface, and one sentence and the right exit code for all that a user can get wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import fsspec
import pytest
import typer

from ulmfit_dist import cli
from ulmfit_dist.cluster import run as run_module
from ulmfit_dist.config import data_folder

COMMANDS = {
    "run", "plan", "ingest", "train-tokenizer", "tokenize", "pretrain", "finetune-lm", "train-classifier", "ensemble",
    "evaluate", "predict", "report", "verify", "doctor",
}  # fmt: skip
TEXT = "the film is a moving and funny story of a boy and his dog who go to the sea . "


def _main(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["ulmfit", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def _recipe(folder: Path, corpus: str = "corpus.csv", task: str = "task.csv") -> Path:
    path = folder / "recipe.toml"
    path.write_text(f'name = "r"\n[corpus]\nsources = ["{corpus}"]\n[task]\nsource = "{task}"\n')
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.csv").write_text("text\n" + "".join(f'"{TEXT}{i}"\n' for i in range(200)))
    (tmp_path / "task.csv").write_text("".join(f'{i % 2},"{TEXT}{i}"\n' for i in range(200)))
    return tmp_path


def test_the_commands_are_these_and_each_shows_an_example() -> None:
    group = typer.main.get_command(cli.app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    commands = group.commands  # type: ignore[attr-defined]
    assert set(commands) == COMMANDS
    for name, command in commands.items():
        assert f"Example: ulmfit {name}" in (command.help or ""), name


def _imported(code: int, *arguments: str) -> set[str]:
    """The modules that a command's own process loads until it ends with this exit code."""
    command = [sys.executable, "-X", "importtime", "-m", "ulmfit_dist", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr[-2000:]
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}


def test_help_loads_what_it_shows_and_no_more() -> None:
    loaded = _imported(0, "--help")
    assert {"typer", "ulmfit_dist.cli"} <= loaded
    assert not {"torch", "spacy", "matplotlib", "ray", "pandas", "pyarrow", "numpy", "sklearn"} & loaded


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("tokenize nowhere --tokenizer nowhere --out nowhere", "ulmfit_dist.cluster.tokenizing"),
        ("train-tokenizer nowhere --recipe en/word_60k --out nowhere", "ulmfit_dist.cluster.tokenizing"),
        ("verify nowhere", "ulmfit_dist.corpus.verify"),
    ],
)
def test_a_command_loads_its_own_stage_and_no_other(arguments: str, code: str) -> None:
    loaded = _imported(2, *arguments.split())
    assert code in loaded
    others = {"torch", "spacy", "matplotlib", "ray.train", "ray.data", "pandas", "sklearn", "scipy", "tensorboard"}
    assert not others & loaded


def _break(folder: Path, what: str) -> Path:
    corpus, task = folder / "corpus.csv", folder / "task.csv"
    if what == "missing file":
        return _recipe(folder, corpus="nowhere.csv")
    if what == "empty corpus":
        corpus.write_text("")
    elif what == "header only":
        corpus.write_text("text\n")
    elif what == "no labels":
        task.write_text("text\n" + f'"{TEXT}"\n' * 20)
    elif what == "one class":
        task.write_text("".join(f'1,"{TEXT}{i}"\n' for i in range(200)))
    elif what == "broken utf-8":
        task.write_bytes(b"\xff\xfe\xfa" * 4000)
    elif what == "unseen label":
        (folder / "train.csv").write_text("".join(f'{i % 2},"{TEXT}{i}"\n' for i in range(100)))
        (folder / "test.csv").write_text("".join(f'{i % 3},"other {TEXT}{i}"\n' for i in range(100)))
        path = _recipe(folder)
        path.write_text(path.read_text().replace('source = "task.csv"', 'train = "train.csv"\ntest = "test.csv"'))
        return path
    path = _recipe(folder)
    if what == "unknown key":
        path.write_text(path.read_text() + "[pretrian]\nx = 1\n")
    if what == "not toml":
        path.write_text("name = = 3")
    return path


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing file", ["nowhere.csv"]),
        ("empty corpus", ["corpus.csv", "empty"]),
        ("header only", ["corpus.csv"]),
        ("no labels", ["task.csv", "label"]),
        ("one class", ["one class"]),
        ("broken utf-8", ["task.csv", "UTF-8"]),
        ("unseen label", ["test", "'2'", "unseen"]),
        ("unknown key", ["'pretrian'", "'pretrain'"]),
        ("not toml", ["recipe.toml", "TOML"]),
    ],
)
def test_bad_input_is_refused_before_any_work(
    what: str, words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run_dir = _break(folder, what), folder / "run"
    assert _main(monkeypatch, "run", recipe, "--run-dir", run_dir) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    assert shown.err.startswith("error: ")
    assert "do: " in shown.err
    for word in words:
        assert word in shown.err, shown.err
    assert not (run_dir / "stages").exists()


def test_no_space_is_said_before_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_module, "_FREE_BYTES", 1 << 62)
    assert _main(monkeypatch, "run", _recipe(folder), "--run-dir", folder / "run") == 2
    assert "too little space" in capsys.readouterr().err


def test_plan_prints_every_stage_and_writes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(monkeypatch, "plan", _recipe(folder), "--run-dir", folder / "run", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows][:2] == ["ingest-corpus", "ingest-task"]
    assert len(rows) == 20
    assert not any(row["done"] for row in rows)
    assert all(row["seconds"] > 0 and row["memory_mb"] > 0 for row in rows)
    assert not (folder / "run").exists()


def test_out_is_never_overwritten(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = folder / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    assert _main(monkeypatch, "ingest", folder / "corpus.csv", "--out", precious) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (precious / "thesis.txt").read_text() == "years of work"
    assert _main(monkeypatch, "ingest", folder / "corpus.csv", "--out", folder / "documents") == 0
    assert _main(monkeypatch, "ingest", folder / "corpus.csv", "--out", folder / "documents") == 0
    (folder / "corpus.csv").write_text("text\n" + "".join(f'"other {TEXT}{i}"\n' for i in range(200)))
    assert _main(monkeypatch, "ingest", folder / "corpus.csv", "--out", folder / "documents") == 2
    assert "holds another result" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "nowhere", "--text", "x"),
        ("predict", "nowhere"),
        ("verify", "nowhere"),
        ("report", "nowhere"),
        ("pretrain", "nowhere", "--direction", "sideways", "--out", "x"),
        ("evaluate", "nowhere", "nowhere", "--out", "x"),
        ("tokenize", "nowhere", "--tokenizer", "nowhere", "--out", "x"),
    ],
)
def test_what_is_not_there_is_said(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _main(monkeypatch, *arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_doctor_finds_this_machine_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(monkeypatch, "doctor", tmp_path, "--json") == 0
    found = {row["subject"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["Python"]["found"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert found["recipes"]["good"]


def test_the_quickstart_recipe_is_where_the_readme_says() -> None:
    assert (data_folder("launch") / "quickstart.toml").is_file()


def test_a_url_is_ingested_as_a_file_and_one_that_cannot_be_read_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fsspec.filesystem("memory").pipe({"/cli/corpus.csv": (folder / "corpus.csv").read_bytes()})
    assert _main(monkeypatch, "ingest", "memory://cli/corpus.csv", "--out", folder / "documents") == 0
    assert json.loads(capsys.readouterr().out)["sources"]["corpus.csv"]["rows"] == 200
    for url in ("nosuch://cli/corpus.csv", "memory://cli/absent.csv"):
        assert _main(monkeypatch, "ingest", url, "--out", folder / "other") == 2
        message = capsys.readouterr().err
        assert all(word in message for word in (f"error: cannot read {url}", "found:", "do:")), message
        assert not (folder / "other").exists()
