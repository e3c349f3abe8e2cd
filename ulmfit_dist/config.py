"""Settings: typed, strict, and each one either semantic (it changes the result) or operational (it does not).

A settings class lives with the code it steers; this module gives them their base, their reader and their errors.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, to_jsonable_python

from ulmfit_dist.errors import InputError, RecipeError
from ulmfit_dist.files import write_bytes

_OPERATIONAL = "operational"
S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of every settings group: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _over_the_default(cls, values: Any) -> Any:
        """A table that gives some keys changes those of the field's default, and not the others back to its class's."""
        if not isinstance(values, dict):
            return values
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        return {
            name: _merged(defaults[name].model_dump(exclude_unset=True), value)
            if isinstance(value, dict) and isinstance(defaults.get(name), Settings)
            else value
            for name, value in values.items()
        }

    def semantic(self) -> dict[str, Any]:
        """Return the settings that change the result, as plain JSON values; operational ones are left out."""
        out: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get(_OPERATIONAL):
                continue
            out[name] = _semantic(getattr(self, name))
        return out


def operational(default: Any, description: str) -> Any:
    """Declare a setting that says how or where work is done and never changes its result."""
    return Field(default=default, description=description, json_schema_extra={_OPERATIONAL: True})


def parse_settings(model: type[S], values: dict[str, Any], where: str) -> S:
    """Check plain values against a settings class.

    Raises RecipeError naming the key in dotted form, what was found, and the nearest key for an unknown one.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        what, found, do = _explain(model, error, where)
        raise RecipeError(what, found=found, do=do) from error


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; InputError when it is missing or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}", found=error.strerror or str(error), do="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML", found=str(error), do="mend the file at that place") from error


def save_toml(path: Path, settings: Settings) -> None:
    """Write the resolved settings; None has no TOML form and is left out (it is always a default)."""
    write_bytes(path, tomli_w.dumps(_without_none(settings.model_dump(mode="json"))).encode())


def apply_overrides(values: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return `values` with each `dotted.key=value` set; the value is read as TOML, else taken as a string."""
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise RecipeError("an override must be key=value", found=repr(override), do="write --set pretrain.epochs=2")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        values = with_setting(values, key.strip(), value)
    return values


def with_setting(values: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """Return `values` with one setting at its dotted place; RecipeError where something else than a table is there."""
    key, dot, rest = dotted.partition(".")
    if not dot:
        return {**values, key: value}
    child = values.get(key, {})
    if not isinstance(child, dict):
        raise RecipeError(f"{key} is not a table, so there is no {dotted} in it", found=repr(child), do="name one")
    return {**values, key: with_setting(child, rest, value)}


def data_folder(name: str) -> Path:
    """Return the folder `tokenizers`, `launch` or `cluster`: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    inside = package / "_data" / name
    return inside if inside.is_dir() else package.parent / name


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {key: (below[key], value) for key, value in above.items() if key in below}
    deeper = {key: _merged(*pair) for key, pair in both.items() if all(isinstance(side, dict) for side in pair)}
    return {**below, **above, **deeper}


def _semantic(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.semantic()
    if isinstance(value, dict):
        return {key: _semantic(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_semantic(item) for item in value]
    return to_jsonable_python(value)


def _explain(model: type[BaseModel], error: ValidationError, where: str) -> tuple[str, str, str]:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        keys = _keys_beside(model, first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), keys, n=1, cutoff=0.5)
        do = f"did you mean {near[0]!r}?" if near else f"known keys here: {', '.join(sorted(keys))}"
        return f"unknown key {path!r} in {where}{more}", repr(first["input"]), do
    if first["type"] == "missing":
        return f"{path!r} is missing in {where}{more}", "", f"add {path}"
    message = first["msg"].removeprefix("Value error, ")
    found = "" if isinstance(first["input"], dict) else repr(first["input"])
    return f"{path or 'settings'} in {where}: {message}{more}", found, _cure(path, first)


def _cure(path: str, error: ErrorDetails) -> str:
    """Say how to correct a value; a number in the place of a string lacks its quotes, which a shell may have eaten."""
    value = error["input"]
    if isinstance(value, (str, dict, list)) or value is None:
        return "correct the value"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    lacks_quotes = error["type"] == "string_type" or (
        error["type"] == "literal_error" and repr(text) in error["ctx"]["expected"]
    )
    if not lacks_quotes:
        return "correct the value"
    of_a_list = any(isinstance(part, int) for part in error["loc"])
    return f'write it in quotes: "{text}"' + ("" if of_a_list else f" (--set '{path}=\"{text}\"')")


def _keys_beside(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
