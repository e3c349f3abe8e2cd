"""Recipe files as plain values: what one inherits from its base, where its paths point, what the command line changes.

base = "imdb"                          a file relative to this one, or a shipped recipe by name; tables are merged

[grid]
"classifier.train_size" = [100, 500]   a dotted setting and its values; the product is taken

[variants.last-layer]                  a named set of settings, crossed with the grid
"classifier.training.stages" = [{ groups = 1, epochs = 10 }]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ulmfit_dist.config import apply_overrides, data_folder, load_toml, with_setting
from ulmfit_dist.corpus.locations import locate
from ulmfit_dist.errors import InputError, RecipeError

BASE, GRID, VARIANTS = "base", "grid", "variants"
# Settings that name files: relative to the recipe that states them, whoever inherits it.
_PATHS = (
    "corpus.sources",
    *(f"task.{name}" for name in ("source", "train", "valid", "test", "unlabelled", "fold_file")),
    *(f"tokenizers.{unit}.vocabulary" for unit in ("word", "subword")),
    *(f"pretrained.{unit}-{direction}" for unit in ("word", "subword") for direction in ("forward", "backward")),
)


def read_recipe_values(path: Path | None, overrides: list[str]) -> dict[str, Any]:
    """Read a recipe (none: no values) over its bases and apply overrides; its paths become absolute.

    The tables `grid` and `variants.NAME` come back flat: dotted setting -> values, or value. A recipe that ships with
    the package may be given by name. Raises InputError or RecipeError for a file that cannot be read, bases that go
    round in a circle, and a grid or variants that are no tables.
    """
    values = apply_overrides(_over_bases(_located(path), ()) if path else {}, overrides)
    return _with_flat_tables(values, str(path or "the settings"))


def dotted(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting of nested tables with its dotted place."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _located(path: Path) -> Path:
    shipped = data_folder("launch") / f"{path}.toml"
    return shipped if not path.exists() and shipped.is_file() else path


def _over_bases(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    resolved = path.resolve()
    if resolved in above:
        circle = " -> ".join(file.name for file in (*above[above.index(resolved) :], resolved))
        raise RecipeError("the bases of a recipe go round in a circle", found=circle, do="take one `base` out")
    values = _rooted(_with_flat_tables(load_toml(path), str(path)), resolved.parent)
    base = values.pop(BASE, None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise RecipeError(f"base in {path} is no recipe", found=repr(base), do='write base = "imdb" or a file name')
    return _merged(_over_bases(_base(base, path), (*above, resolved)), values)


def _base(base: str, path: Path) -> Path:
    beside, shipped = path.parent / base, data_folder("launch") / f"{base}.toml"
    if beside.is_file():
        return beside
    if shipped.is_file():
        return shipped
    known = ", ".join(sorted(file.stem for file in data_folder("launch").glob("*.toml")))
    do = f"name a file relative to the recipe, or one of {known}"
    raise InputError(f"the base of {path} is not there", found=f"{base!r}, neither {beside} nor shipped", do=do)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return one recipe's values over another's: table by table, anything else replaced."""
    deeper = {
        key: _merged(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return {**below, **above, **deeper}


def _with_flat_tables(values: dict[str, Any], where: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    if GRID in values:
        flat[GRID] = dict(dotted(_table(values[GRID], GRID, where)))
    if VARIANTS in values:
        named = _table(values[VARIANTS], VARIANTS, where).items()
        flat[VARIANTS] = {name: dict(dotted(_table(one, f"{VARIANTS}.{name}", where))) for name, one in named}
    return {**values, **flat}


def _table(value: Any, name: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RecipeError(
            f"[{name}] in {where} is not a table", found=repr(value), do="write it as [grid] or [variants.NAME]"
        )
    return value


def _rooted(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    flat = dict(dotted(values))
    for name in _PATHS:
        if name in flat:
            values = with_setting(values, name, _root(flat[name], folder))
    sweeps = [values.get(GRID, {}), *values.get(VARIANTS, {}).values()]
    for sweep in sweeps:
        sweep.update({name: _root(sweep[name], folder) for name in _PATHS if name in sweep})
    return values


def _root(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_root(one, folder) for one in value]
    return str(locate(value, folder)) if isinstance(value, str) and value else value
