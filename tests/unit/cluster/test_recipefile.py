"""Recipe files: bases merged table by table, paths relative to the file that states them, circles refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster.recipefile import read_recipe_values
from ulmfit_dist.config import data_folder, load_toml
from ulmfit_dist.errors import InputError, RecipeError


def _write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)


def test_tables_are_merged_and_everything_else_is_replaced(tmp_path: Path) -> None:
    _write(tmp_path, below='seed = 1\nunits = ["word"]\n[model]\nnum_layers = 3\n[model.deep]\na = 1\nb = 2\n')
    _write(tmp_path, middle='base = "below.toml"\nseed = 2\n[model]\nhidden_size = 9\n')
    _write(tmp_path, top='base = "middle.toml"\nunits = ["subword", "word"]\n[model.deep]\nb = 3\n')
    assert read_recipe_values(tmp_path / "top.toml", ["model.num_layers=4"]) == {
        "seed": 2,
        "units": ["subword", "word"],
        "model": {"num_layers": 4, "hidden_size": 9, "deep": {"a": 1, "b": 3}},
    }


def test_paths_belong_to_the_file_that_states_them(tmp_path: Path) -> None:
    below = '[corpus]\nsources = ["a.csv", "memory://b/c.csv"]\n[tokenizers.word]\nvocabulary = "itos.json"\n'
    _write(tmp_path / "below", r=below + '[task]\ntrain = "t.csv"\nvalid = ""\nfold_file = "f.txt"\n')
    top = 'base = "below/r.toml"\n[task]\ntest = "u.csv"\n[grid]\n"task.train" = ["v.csv", "/w.csv"]\n'
    _write(tmp_path, top=top + '[variants.more]\ntask.unlabelled = "x.csv"\n')
    values = read_recipe_values(tmp_path / "top.toml", [])
    assert values["corpus"]["sources"] == [str(tmp_path / "below" / "a.csv"), "memory://b/c.csv"]
    assert values["tokenizers"]["word"]["vocabulary"] == str(tmp_path / "below" / "itos.json")
    assert values["task"] == {
        "train": str(tmp_path / "below" / "t.csv"),
        "valid": "",
        "test": str(tmp_path / "u.csv"),
        "fold_file": str(tmp_path / "below" / "f.txt"),
    }
    assert values["grid"] == {"task.train": [str(tmp_path / "v.csv"), "/w.csv"]}
    assert values["variants"] == {"more": {"task.unlabelled": str(tmp_path / "x.csv")}}


def test_a_base_may_be_shipped_and_a_file_beside_comes_first(tmp_path: Path) -> None:
    _write(tmp_path, top='base = "quickstart"\nname = "mine"\n')
    shipped = load_toml(data_folder("launch") / "quickstart.toml")
    values = read_recipe_values(tmp_path / "top.toml", [])
    assert values["name"] == "mine"
    assert values["model"] == shipped["model"]
    assert Path(values["corpus"]["sources"][0]).is_file()
    (tmp_path / "quickstart").write_text('name = "beside"\nseed = 9\n')
    assert read_recipe_values(tmp_path / "top.toml", []) == {"name": "mine", "seed": 9}


def test_grid_and_variants_come_flat_whichever_way_they_are_written(tmp_path: Path) -> None:
    _write(tmp_path, below='[grid]\n"classifier.train_size" = [1]\nseed = [5]\n')
    _write(tmp_path, top='base = "below.toml"\n[grid]\nclassifier.train_size = [2, 3]\n[variants.a.model]\nx = 1\n')
    values = read_recipe_values(tmp_path / "top.toml", ["grid.classifier.lr=[0.1]", "grid.seed=[6]"])
    assert values["grid"] == {"classifier.train_size": [2, 3], "seed": [6], "classifier.lr": [0.1]}
    assert values["variants"] == {"a": {"model.x": 1}}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ('base = "top.toml"', RecipeError, ["circle", "top.toml -> top.toml"]),
        ('base = "other.toml"', RecipeError, ["circle", "top.toml -> other.toml -> top.toml"]),
        ('base = "nowhere"', InputError, ["nowhere", "quickstart"]),
        ("base = 3", RecipeError, ["base", "3"]),
        ("grid = [1]", RecipeError, ["[grid]", "not a table"]),
        ("[variants]\na = 1", RecipeError, ["[variants.a]", "not a table"]),
    ],
)
def test_what_cannot_be_read_is_said(text: str, error: type[Exception], words: list[str], tmp_path: Path) -> None:
    _write(tmp_path, top=text, other='base = "top.toml"')
    with pytest.raises(error) as found:
        read_recipe_values(tmp_path / "top.toml", [])
    for word in words:
        assert word in str(found.value)
