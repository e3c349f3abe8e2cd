"""From a recipe with a grid, variants, languages or folds to the plain recipes that it stands for, told apart."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ulmfit_dist.cluster.languages import LANGUAGE, language_runs
from ulmfit_dist.cluster.recipe import Recipe, parse_recipe
from ulmfit_dist.cluster.recipefile import GRID, VARIANTS, read_recipe_values
from ulmfit_dist.config import with_setting
from ulmfit_dist.errors import RecipeError
from ulmfit_dist.files import canonical_json, digest_bytes

VARIANT, FOLD = "variant", "task.fold"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_VALUE = 40


@dataclass(frozen=True)
class Choice:
    """One run of a sweep: its plain recipe, and the settings that tell it from the others, its variant among them."""

    chosen: Mapping[str, Any]
    recipe: Recipe


@dataclass(frozen=True)
class Sweep:
    """A recipe and the runs that it stands for: one, unless it has a grid, variants, languages or folds.

    names: what the telling settings are called in labels.
    """

    recipe: Recipe
    choices: tuple[Choice, ...]
    names: Mapping[str, str]

    def label(self, chosen: Mapping[str, Any]) -> str:
        """Say some of the telling settings in short: `chain-thaw,seed=2`. Fit for a file's name."""
        return _label(chosen, self.names)


def load_sweep(path: Path | None, overrides: list[str]) -> Sweep:
    """Read a recipe and every run that it stands for, each checked like a recipe of its own.

    Raises what `load_run_recipe` raises, naming the combination; RecipeError for a value that is there twice, and for a
    setting that both the grid and a variant choose.
    """
    where = str(path or "the settings")
    values = read_recipe_values(path, overrides)
    if values.get(LANGUAGE):
        raise RecipeError(f"language in {where} is set for each of [languages] by itself", do="take it out")
    recipe = parse_recipe(values, where)
    plain = {key: value for key, value in values.items() if key not in (GRID, VARIANTS)}
    found = [
        (chosen, one)
        for variant in _variants(recipe)
        for grid in _combinations(recipe.grid)
        for spoken, in_language in _in_languages(*_applied(plain, variant, grid, where), where)
        for chosen, one in _folded(spoken, in_language)
    ]
    names = _short_names(_telling([chosen for chosen, _ in found]))
    choices = []
    for chosen, one in found:
        told = {key: chosen[key] for key in names if key in chosen}
        label = _label(told, names)
        choices.append(Choice(told, parse_recipe(one, f"{where} with {label}" if label else where)))
    return Sweep(recipe, tuple(choices), names)


def _label(chosen: Mapping[str, Any], names: Mapping[str, str]) -> str:
    alone = (VARIANT, LANGUAGE)
    return ",".join(_said(value) if key in alone else f"{names[key]}={_said(value)}" for key, value in chosen.items())


def _variants(recipe: Recipe) -> list[dict[str, Any]]:
    return [{VARIANT: name, **settings} for name, settings in recipe.variants.items()] or [{}]


def _combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    for name, values in grid.items():
        if len({canonical_json(value) for value in values}) < len(values):
            raise RecipeError(f"grid.{name} has a value twice", found=repr(values), do="name each once")
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _applied(
    values: dict[str, Any], variant: dict[str, Any], grid: dict[str, Any], where: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what tells a run from others before its folds, and its recipe's values."""
    twice = sorted(set(variant) & set(grid))
    if twice:
        found = f"{', '.join(twice)} in variant {variant[VARIANT]} and in the grid"
        raise RecipeError(f"{where} chooses a setting twice", found=found, do="take it out of one of them")
    for key, value in {**variant, **grid}.items():
        values = values if key == VARIANT else with_setting(values, key, value)
    return {key: value for key, value in {**variant, **grid}.items() if key == VARIANT or key in grid}, values


def _in_languages(
    chosen: dict[str, Any], values: dict[str, Any], where: str
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the same run in each language that it names."""
    runs = language_runs(values, where)
    return [({**chosen, LANGUAGE: name}, one) for name, one in runs] or [(chosen, values)]


def _folded(chosen: dict[str, Any], values: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    task = values.get("task")
    table = task if isinstance(task, dict) else {}
    folds = table.get("folds")
    if not isinstance(folds, int) or "fold" in table:
        return [(chosen, values)]
    return [({**chosen, FOLD: fold}, with_setting(values, FOLD, fold)) for fold in range(folds)] or [(chosen, values)]


def _telling(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings in which the runs differ, in the order of the first that has them all."""
    order = dict.fromkeys(key for chosen in found for key in chosen)
    return [key for key in order if len({canonical_json(chosen.get(key)) for chosen in found}) > 1]


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return for each dotted key its shortest end that no other key ends with."""
    short = {}
    for key in keys:
        parts = key.split(".")
        ends = (".".join(parts[place:]) for place in reversed(range(len(parts))))
        others = [f".{other}" for other in keys if other != key]
        short[key] = next((end for end in ends if not any(other.endswith(f".{end}") for other in others)), key)
    return short


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    safe = _UNSAFE.sub("_", text).strip("_")
    # What was cut or changed may be another value's text too.
    same = safe == text and len(text) <= _LONGEST_VALUE
    return safe if same else f"{safe[: _LONGEST_VALUE - 5]}~{digest_bytes(canonical_json(value))[:4]}"
