"""Settings: strictness, nearest key, overrides, and the border between semantic and operational."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from ulmfit_dist.config import Settings, apply_overrides, data_folder, load_toml, operational, parse_settings, save_toml
from ulmfit_dist.errors import InputError, RecipeError


class Inner(Settings):
    epochs: int = 1
    workers: int = operational(2, "processes")


class Outer(Settings):
    name: str
    inner: Inner = Inner()
    maybe: int | None = None
    device: str = operational("cpu", "where")


def test_unknown_key_names_the_nearest_one() -> None:
    with pytest.raises(RecipeError) as error:
        parse_settings(Outer, {"name": "a", "inner": {"epocs": 3}}, "recipe.toml")
    assert "'inner.epocs'" in str(error.value)
    assert "'epochs'" in str(error.value)
    assert "recipe.toml" in str(error.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ["'name' is missing"]),
        ({"name": "a", "inner": {"epochs": "many"}}, ["inner.epochs", "'many'"]),
        ({"name": "a", "zzzzzz": 1}, ["'zzzzzz'", "known keys", "device, inner, maybe, name"]),
    ],
)
def test_bad_values_say_what_was_found(values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(RecipeError) as error:
        parse_settings(Outer, values, "r")
    for word in words:
        assert word in str(error.value)
    assert error.value.exit_code == 2


class Named(Settings):
    name: str = "a"
    year: Literal["2018", "2019"] = "2018"
    places: list[str] = Field(default=[])
    count: int = 1


class Holder(Settings):
    named: Named = Named()


@pytest.mark.parametrize(
    ("override", "cure"),
    [
        ("named.name=12", "'named.name=\"12\"'"),
        ("named.name=0.5", "'named.name=\"0.5\"'"),
        ("named.name=true", "'named.name=\"true\"'"),
        ("named.name=2018-05-01", "'named.name=\"2018-05-01\"'"),
        ("named.year=2018", "'named.year=\"2018\"'"),
    ],
)
def test_a_number_where_a_string_is_wanted_is_shown_in_quotes(override: str, cure: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse_settings(Holder, apply_overrides({}, [override]), "r")
    assert f"--set {cure}" in str(error.value)
    # What is advised is taken, once the shell has removed its own quotes.
    parse_settings(Holder, apply_overrides({}, [cure.strip("'")]), "r")


def test_of_a_list_the_item_is_shown_in_quotes() -> None:
    with pytest.raises(RecipeError) as error:
        parse_settings(Holder, {"named": {"places": ["a", 7]}}, "r")
    assert str(error.value).endswith('write it in quotes: "7"')


@pytest.mark.parametrize("override", ["named.year=2020", "named.count=0.5", "named.name=[1]", "named.count=many"])
def test_quotes_are_not_advised_where_they_would_not_help(override: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse_settings(Holder, apply_overrides({}, [override]), "r")
    assert "quotes" not in str(error.value)


class Tuned(Settings):
    inner: Inner = Inner(epochs=10)
    outer: Outer = Outer(name="a", inner=Inner(epochs=5))


def test_a_table_changes_what_it_names_of_the_fields_default_alone() -> None:
    tuned = parse_settings(Tuned, {"inner": {"workers": 4}, "outer": {"inner": {"workers": 3}}}, "r")
    assert (tuned.inner.epochs, tuned.inner.workers) == (10, 4)
    assert (tuned.outer.name, tuned.outer.inner.epochs, tuned.outer.inner.workers) == ("a", 5, 3)
    assert parse_settings(Tuned, {"inner": {"epochs": 1}}, "r").inner == Inner()


def test_operational_settings_are_not_semantic() -> None:
    one = Outer(name="a", inner=Inner(workers=1), device="cpu")
    other = Outer(name="a", inner=Inner(workers=64), device="cuda")
    assert one.semantic() == other.semantic() == {"name": "a", "inner": {"epochs": 1}, "maybe": None}
    assert Outer(name="a", inner=Inner(epochs=2)).semantic() != one.semantic()


def test_settings_inside_containers_lose_their_operational_part_too() -> None:
    class Many(Settings):
        rows: list[Inner]
        table: dict[str, Inner]

    one = Many(rows=[Inner(workers=1)], table={"a": Inner(workers=1)})
    other = Many(rows=[Inner(workers=9)], table={"a": Inner(workers=9)})
    assert one.semantic() == other.semantic()


def test_overrides_read_toml_values_and_leave_the_original_alone() -> None:
    values = {"name": "a", "inner": {"epochs": 1}}
    changed = apply_overrides(values, ["inner.epochs=5", "name=plain text", "new.deep.key=[1, 2]"])
    assert changed == {"name": "plain text", "inner": {"epochs": 5}, "new": {"deep": {"key": [1, 2]}}}
    assert values == {"name": "a", "inner": {"epochs": 1}}


@pytest.mark.parametrize("override", ["epochs", "=3", "name.deeper=1"])
def test_bad_overrides_are_refused(override: str) -> None:
    with pytest.raises(RecipeError):
        apply_overrides({"name": "a"}, [override])


def test_saved_settings_read_back_equal(tmp_path: Path) -> None:
    settings = Outer(name='ü "quoted"\nline', inner=Inner(epochs=7))
    save_toml(tmp_path / "recipe.toml", settings)
    assert parse_settings(Outer, load_toml(tmp_path / "recipe.toml"), "r") == settings


def test_missing_and_broken_toml_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        load_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(InputError, match="not valid TOML"):
        load_toml(tmp_path / "bad.toml")


def test_recipes_are_found_beside_the_package() -> None:
    assert (data_folder("tokenizers") / "en").is_dir()
