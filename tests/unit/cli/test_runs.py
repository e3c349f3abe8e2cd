"""Whole recipes: what a user can get wrong is one sentence before any work; plan writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ulmfit_dist.cli import printing
from ulmfit_dist.cluster import run as run_module
from ulmfit_dist.config import data_folder

TEXT = "the film is a moving and funny story of a boy and his dog who go to the sea . "


def _break(folder: Path, what: str, write_recipe) -> Path:
    corpus, task = folder / "corpus.csv", folder / "task.csv"
    if what == "missing file":
        return write_recipe(folder, corpus="nowhere.csv")
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
        path = write_recipe(folder)
        path.write_text(path.read_text().replace('source = "task.csv"', 'train = "train.csv"\ntest = "test.csv"'))
        return path
    path = write_recipe(folder)
    if what == "unknown key":
        path.write_text(path.read_text() + "[pretrian]\nx = 1\n")
    if what == "not toml":
        path.write_text("name = = 3")
    return path


@pytest.mark.parametrize(
    "case",
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
    case: tuple[str, list[str]], folder: Path, ulmfit, write_recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    what, words = case
    recipe, run_dir = _break(folder, what, write_recipe), folder / "run"
    assert ulmfit("run", recipe, "--run-dir", run_dir) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    assert shown.err.startswith("error: ")
    assert "do: " in shown.err
    for word in words:
        assert word in shown.err, shown.err
    assert not (run_dir / "stages").exists()


def test_no_space_is_said_before_work(
    folder: Path, ulmfit, write_recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_module, "_FREE_BYTES", 1 << 62)
    assert ulmfit("run", write_recipe(folder), "--run-dir", folder / "run") == 2
    assert "too little space" in capsys.readouterr().err


def test_plan_prints_every_stage_and_writes_nothing(
    folder: Path, ulmfit, write_recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ulmfit("plan", write_recipe(folder), "--run-dir", folder / "run", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows][:2] == ["ingest-corpus", "ingest-task"]
    assert len(rows) == 22
    assert not any(row["done"] for row in rows)
    assert all(row["seconds"] > 0 and row["memory_mb"] > 0 for row in rows)
    assert not (folder / "run").exists()


def test_plan_draws_a_picture(folder: Path, ulmfit, write_recipe) -> None:
    assert ulmfit("plan", write_recipe(folder), "--run-dir", folder / "run", "--svg", folder / "plan.svg") == 0
    drawn = (folder / "plan.svg").read_text()
    assert drawn.count("<g>") == 22
    assert ">pretrain-word-forward<" in drawn


def test_short_options_only_edit_the_grid(
    folder: Path, ulmfit, write_recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run_dir = write_recipe(folder), folder / "run"

    def rows(*options: str) -> list[dict[str, object]]:
        assert ulmfit("plan", recipe, "--run-dir", run_dir, "--json", *options) == 0
        return list(json.loads(capsys.readouterr().out))

    short = rows("--seeds", "1,2", "--train-sizes", "20, 40", "--folds", "2")
    given = ["grid.classifier.train_size=[20, 40]", "grid.seed=[1, 2]", "task.folds=2"]
    assert short == rows(*[part for one in given for part in ("--set", one)])
    assert sum(row["kind"] == "evaluate" for row in short) == 8


def test_a_plan_of_many_runs_is_one_row_a_stage(
    folder: Path, ulmfit, write_recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing.STDOUT, "_width", 200)
    shared = "grid.classifier.training.seed=[1,2,3]"
    assert ulmfit("plan", write_recipe(folder), "--run-dir", folder / "run", "--set", shared) == 0
    shown = capsys.readouterr().out
    assert "r, 3 runs" in shown
    assert "classifier-word-forward x 3" in shown
    assert "pretrain-word-forward x" not in shown
    assert shown.count("evaluate") == 2  # its own row, and what compare reads


@pytest.mark.parametrize("option", ["--seeds=1,x", "--train-sizes=100;200", "--seeds=-1"])
def test_lists_of_options_are_numbers(
    option: str, folder: Path, ulmfit, write_recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ulmfit("plan", write_recipe(folder), option) == 2
    assert f"{option.partition('=')[0]} takes numbers" in capsys.readouterr().err


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
    arguments: tuple[str, ...],
    tmp_path: Path,
    ulmfit,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ulmfit(*arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_quickstart_recipe_is_where_the_readme_says() -> None:
    assert (data_folder("launch") / "quickstart.toml").is_file()
