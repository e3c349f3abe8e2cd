"""Recipes for many languages: [languages] names them, and each is a run of its own over the one crawl.

[languages]
separate = ["th", "fi", "tr"]          # tokenizers and language models for each

[languages.shared.nordic]              # one SentencePiece model and one set of language models for several
languages = ["da", "nb", "sv"]
alpha = 0.3

In the tokenizers' recipes `{language}` stands for the language: `{language}/word_60k`, the default here.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from ulmfit_dist.config import Settings, parse_settings, with_setting
from ulmfit_dist.crawl.language import UNDETERMINED, iso_code
from ulmfit_dist.errors import RecipeError
from ulmfit_dist.tokenization.recipe import recipe_names

LANGUAGE = "language"
ANY_LANGUAGE = "xx"
_PLACE = "{language}"
_DEFAULTS = {"word": f"{_PLACE}/word_60k", "subword": f"{_PLACE}/sp_30k"}


class SharedLanguages(Settings):
    """Languages that share one SentencePiece model and language models."""

    languages: list[str] = Field(min_length=2, description="ISO 639 codes")
    alpha: float = Field(default=0.3, ge=0, le=1, description="1: shares as they are, 0: all languages alike")


class LanguagesSettings(Settings):
    """The languages of a crawl that are modelled; the name of a group stands for its languages."""

    separate: list[str] = Field(default=[], description="ISO 639 codes, each with tokenizers and models of its own")
    shared: dict[str, SharedLanguages] = Field(default={}, description="named groups of languages")

    @model_validator(mode="after")
    def _known_codes(self) -> Self:
        codes = [*self.separate, *(code for group in self.shared.values() for code in group.languages)]
        if wrong := [code for code in codes if iso_code(code) == UNDETERMINED]:
            msg = f"{wrong[0]!r} is no language code; write ISO 639, for example fi or fin"
            raise ValueError(msg)
        for names in (self.names(), *(group.languages for group in self.shared.values())):
            plain = [name if name in self.shared else iso_code(name) for name in names]
            if twice := sorted({name for name in plain if plain.count(name) > 1}):
                msg = f"{twice[0]!r} is named twice"
                raise ValueError(msg)
        return self

    def names(self) -> list[str]:
        """Return what is modelled: languages, then groups."""
        return [*self.separate, *self.shared]


def language_runs(values: dict[str, Any], where: str) -> list[tuple[str, dict[str, Any]]]:
    """Return for each language of a recipe's plain values its name and the values of its run; none: no [languages].

    Raises RecipeError for a table that the schema refuses, a language that is modelled by words alone and has no word
    recipe, and values that choose one language already.
    """
    if "languages" not in values:
        return []
    settings = parse_settings(LanguagesSettings, values["languages"], f"languages in {where}")
    return [(name, _for_language(values, settings, name)) for name in settings.names()]


def with_places(values: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's plain values with the default tokenizers of each language where it names none."""
    for unit, recipe in _DEFAULTS.items():
        if _asked(values, unit) == recipe:
            values = with_setting(values, f"tokenizers.{unit}.recipe", recipe)
    return values


def tokenizer_folder(language: str) -> str:
    """Return the folder of tokenizers/ that is for a language, by any ISO 639 code of it; `xx` where none is."""
    folders = {name.partition("/")[0] for name in recipe_names()}
    fitting = [folder for folder in sorted(folders) if iso_code(folder) == iso_code(language)]
    return language if language in folders else fitting[0] if fitting else ANY_LANGUAGE


def _for_language(values: dict[str, Any], settings: LanguagesSettings, name: str) -> dict[str, Any]:
    folder = ANY_LANGUAGE if name in settings.shared else tokenizer_folder(name)
    units = []
    for unit in values.get("units", list(_DEFAULTS)):
        asked = _asked(values, unit)
        if _PLACE not in asked and not asked.endswith(".toml") and not asked.startswith(f"{ANY_LANGUAGE}/"):
            do = f"write {_DEFAULTS.get(unit)!r}, or a .toml file for all"
            raise RecipeError(f"tokenizers.{unit} is of one language, and [languages] of several", found=asked, do=do)
        recipe = asked.replace(_PLACE, folder)
        # Words of a language that nobody has cut into words, or of several at once, would be no words.
        if unit == "word" and _PLACE in asked and (name in settings.shared or recipe not in recipe_names()):
            continue
        units.append(unit)
        values = with_setting(values, f"tokenizers.{unit}.recipe", recipe)
        if folder == ANY_LANGUAGE and _PLACE in asked:
            values = with_setting(values, f"tokenizers.{unit}.change.language", name)
    if not units:
        do = 'add "subword" to units, or make a recipe with `ulmfit new-language`'
        raise RecipeError(f"there is no word recipe for {name}", found="units = ['word']", do=do)
    return {**values, "units": units, LANGUAGE: name}


def _asked(values: dict[str, Any], unit: str) -> str:
    tokenizers = values.get("tokenizers", {})
    choice = tokenizers.get(unit, {}) if isinstance(tokenizers, dict) else {}
    asked = choice.get("recipe") if isinstance(choice, dict) else None
    return asked if isinstance(asked, str) else _DEFAULTS.get(unit, "")
