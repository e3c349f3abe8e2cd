"""Sweeps: the product of grid, variants and folds as plain recipes, told apart by short labels."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from ulmfit_dist.cluster.grid import Sweep, load_sweep
from ulmfit_dist.cluster.recipe import load_run_recipe
from ulmfit_dist.errors import RecipeError

PLAIN = "[corpus]\nsources = ['a.csv']\n[task]\nsource = 't.csv'\n"


def _sweep(folder: Path, text: str, *overrides: str) -> Sweep:
    path = folder / "r.toml"
    path.write_text(PLAIN + text)
    return load_sweep(path, list(overrides))


def _labels(sweep: Sweep) -> list[str]:
    return [sweep.label(choice.chosen) for choice in sweep.choices]


def test_a_plain_recipe_is_one_run_without_a_label(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path, "")
    (choice,) = sweep.choices
    assert (choice.chosen, choice.recipe) == ({}, sweep.recipe)
    assert sweep.recipe == load_run_recipe(tmp_path / "r.toml", [])


def test_the_product_of_grid_and_variants(tmp_path: Path) -> None:
    text = (
        "[grid]\nseed = [1, 2]\n'classifier.train_size' = [10, 50]\n[variants.plain]\n"
        "[variants.chain]\n'classifier.unfreezing' = 'chain-thaw'\n"
    )
    sweep = _sweep(tmp_path, text)
    found = [
        (choice.recipe.classifier.unfreezing, choice.recipe.seed, choice.recipe.classifier.train_size)
        for choice in sweep.choices
    ]
    assert found == list(product(("2018", "chain-thaw"), (1, 2), (10, 50)))
    assert _labels(sweep)[:2] == ["plain,seed=1,train_size=10", "plain,seed=1,train_size=50"]
    assert all(not choice.recipe.grid and not choice.recipe.variants for choice in sweep.choices)
    assert {choice.recipe.classifier.training.seed for choice in sweep.choices} == {1, 2}


def test_a_single_value_is_set_and_not_told(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path, "[grid]\nseed = [7]\n'classifier.lr' = [0.1, 0.2]\n")
    assert {choice.recipe.seed for choice in sweep.choices} == {7}
    assert _labels(sweep) == ["lr=0.1", "lr=0.2"]
    (alone,) = _sweep(tmp_path, "[grid]\nseed = [7]\n").choices
    assert alone.recipe.seed == 7


def test_folds_are_every_fold_unless_one_is_named(tmp_path: Path) -> None:
    sweep = _sweep(tmp_path, "", "task.folds=3", "grid.seed=[1, 2]")
    folds = [choice.recipe.task.fold for choice in sweep.choices if choice.recipe.task is not None]
    assert folds == [0, 1, 2] * 2
    assert _labels(sweep)[1] == "seed=1,fold=1"
    (one,) = _sweep(tmp_path, "", "task.folds=3", "task.fold=2").choices
    assert one.recipe.task is not None
    assert one.recipe.task.fold == 2
    official = _sweep(tmp_path, "", "task.folds=3", "task.columns.fold=part").choices
    assert [choice.recipe.task.fold for choice in official if choice.recipe.task is not None] == [0, 1, 2]


def test_labels_tell_settings_of_one_end_and_odd_values_apart(tmp_path: Path) -> None:
    text = "[grid]\n'seed' = [1, 2]\n'classifier.training.seed' = [1, 2]\n'classifier.lr' = [0.5, 1e-3]\n"
    assert _labels(_sweep(tmp_path, text))[-1] == "seed=2,training.seed=2,lr=0.001"
    odd = ["a/b", "a b", "x" * 60, "x" * 61]
    labels = _labels(
        _sweep(tmp_path, f"[grid]\n'evaluate.mistakes' = [3]\n'corpus.sources' = {[[one] for one in odd]}\n")
    )
    assert len(set(labels)) == len(odd)
    assert all(set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789=_.~-") and len(label) < 60 for label in labels)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[grid]\n'classifier.train_sze' = [1, 2]", ["train_sze", "train_size", "train_sze=1"]),
        ("[grid]\nseed = [1, -2]", ["seed=-2", "greater than or equal to 0"]),
        ("[grid]\nseed = []", ["grid.seed", "at least 1"]),
        ("[grid]\nseed = 3", ["grid.seed", "list"]),
        ("[grid]\nseed = [1, 1]", ["grid.seed", "twice"]),
        ("[grid]\nseed = [1, 2]\n[variants.a]\nseed = 3", ["a setting twice", "seed", "variant a"]),
        ("[grid]\n'corpus.sources.x' = [1, 2]", ["sources", "not a table"]),
        ("[variants.'a b']\nseed = 3", ["variants"]),
        ("[variants.x]\n[variants.y]\nclassifier.lr = 0", ["with y", "classifier.lr"]),
    ],
)
def test_bad_sweeps_are_refused_with_the_combination(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        _sweep(tmp_path, text)
    for word in words:
        assert word in str(error.value), str(error.value)
