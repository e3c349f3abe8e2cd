"""Tokenizer recipes: what a token is in a language, as data. They live in `tokenizers/<language>/<name>.toml`."""

from __future__ import annotations

import difflib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ulmfit_dist.config import Settings, data_folder, load_toml, parse_settings
from ulmfit_dist.errors import RecipeError
from ulmfit_dist.tokenization.rules import RULE_SETS, ULMFIT_1
from ulmfit_dist.tokenization.segmenters import SEGMENTERS, missing_packages
from ulmfit_dist.tokenization.special import SPECIALS

_NO_BLANKS = "which is written without blanks between words"
_BLANKS_IN_WORDS = "which has blanks inside words too"
_OWN_SEGMENTER = "which spaCy cuts with a segmenter, not by rules"
SEGMENTED_LANGUAGES = {
    "bo": f"Tibetan, {_NO_BLANKS}",
    "ja": f"Japanese, {_NO_BLANKS}",
    "km": f"Khmer, {_NO_BLANKS}",
    "ko": f"Korean, {_OWN_SEGMENTER}",
    "lo": f"Lao, {_NO_BLANKS}",
    "my": f"Burmese, {_NO_BLANKS}",
    "th": f"Thai, {_NO_BLANKS}",
    "vi": f"Vietnamese, {_BLANKS_IN_WORDS}",
    "yue": f"Cantonese, {_NO_BLANKS}",
    "zh": f"Chinese, {_NO_BLANKS}",
}
"""The languages that are not cut by rules, and why. For some a segmenter is known (segmenters.py)."""
_BYTE_PIECES = 256


class WordRecipe(Settings):
    """Words: spaCy's rule tokenizer of the language, a rule set, and the most frequent tokens."""

    unit: Literal["word"] = "word"
    language: str = Field("en", description="spaCy's code of the language; xx where spaCy has no rules for it")
    rules: str = Field("ulmfit-1", description="the rule set around spaCy's tokens")
    max_vocab: Annotated[int, Field(gt=len(SPECIALS))] = Field(
        60_000, description="most entries, special tokens included (fastai-0.7: beside them)"
    )
    min_freq: Annotated[int, Field(ge=1)] = Field(
        3, description="a token must occur so often to be an entry (fastai-0.7: more often)"
    )

    @field_validator("rules")
    @classmethod
    def _known_rules(cls, name: str) -> str:
        if name not in RULE_SETS:
            raise ValueError(f"unknown rule set {name!r}, known are {', '.join(sorted(RULE_SETS))}")
        return name

    @field_validator("language")
    @classmethod
    def _cut_by_rules(cls, language: str) -> str:
        if language in SEGMENTERS:
            if install := missing_packages(language):
                what = f"words of {SEGMENTED_LANGUAGES[language]}, need a segmenter that is not installed"
                raise ValueError(f"{what}: `{install}`, or use the SentencePiece recipe {language}/sp_30k")
        elif language in SEGMENTED_LANGUAGES:
            why = SEGMENTED_LANGUAGES[language]
            raise ValueError(f"no word recipe works for {why}; use the SentencePiece recipe {language}/sp_30k")
        elif language not in spacy_languages():
            raise ValueError(
                f'spaCy has no language {language!r}; use "xx" (rules of no language) or a SentencePiece recipe'
            )
        return language

    @model_validator(mode="after")
    def _segmented_by_our_rules(self) -> WordRecipe:
        if self.language in SEGMENTERS and self.rules != ULMFIT_1.name:
            raise ValueError(f"words of {self.language} are cut by a segmenter: use rules = {ULMFIT_1.name!r}")
        return self


class SubwordRecipe(Settings):
    """Pieces of words: a SentencePiece model of a fixed size. Every setting changes the model, num_threads too."""

    unit: Literal["subword"] = "subword"
    language: str = Field(description="ISO 639-1 code, else 639-3")
    model_type: Literal["unigram", "bpe"] = Field("unigram", description="SentencePiece's algorithm")
    vocab_size: Annotated[int, Field(ge=8, le=1_000_000)] = Field(
        30_000, description="number of pieces, exactly, special ones included"
    )
    character_coverage: Annotated[float, Field(ge=0.98, le=1.0)] = Field(
        0.9998, description="share of the text's characters that get a piece"
    )
    byte_fallback: bool = Field(
        default=False, description="spell other characters by 256 byte pieces instead of the unknown piece"
    )
    normalization: Literal["nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf", "identity"] = Field(
        "nmt_nfkc", description="SentencePiece's normaliser"
    )
    sample_characters: Annotated[int, Field(ge=1)] = Field(
        20_000_000, description="most characters to train on; training takes 20 bytes of memory each"
    )
    seed: Annotated[int, Field(ge=0, lt=2**64)] = Field(0, description="which lines of the text are the sample")
    num_threads: Annotated[int, Field(ge=1, le=128)] = Field(
        1, description="training threads; another number gives other scores"
    )

    @model_validator(mode="after")
    def _room_for_bytes(self) -> SubwordRecipe:
        if self.byte_fallback and self.vocab_size <= _BYTE_PIECES:
            raise ValueError(
                f"vocab_size {self.vocab_size} holds no piece beside the {_BYTE_PIECES} bytes of byte_fallback"
            )
        return self


TokenizerRecipe = WordRecipe | SubwordRecipe


def load_recipe(name_or_path: str, overrides: dict[str, Any] | None = None) -> TokenizerRecipe:
    """Read a recipe by name (`en/word_60k`) or from a TOML file; `overrides` replace its values.

    Raises RecipeError for an unknown name, key or value, InputError for an unreadable file.
    """
    path = Path(name_or_path) if name_or_path.endswith(".toml") else data_folder("tokenizers") / f"{name_or_path}.toml"
    if not name_or_path.endswith(".toml") and name_or_path not in recipe_names():
        near = difflib.get_close_matches(name_or_path, recipe_names(), n=1, cutoff=0.0)
        do = f"did you mean {near[0]!r}? known: {', '.join(recipe_names())}; or name a .toml file"
        raise RecipeError("unknown tokenizer recipe", found=repr(name_or_path), do=do)
    return parse_recipe({**load_toml(path), **(overrides or {})}, str(path))


def parse_recipe(values: dict[str, Any], where: str) -> TokenizerRecipe:
    """Check a recipe's plain values; `unit` says which kind it is. RecipeError names `where`, the key and the value."""
    unit = values.get("unit")
    if unit == "word":
        return parse_settings(WordRecipe, values, where)
    if unit == "subword":
        return parse_settings(SubwordRecipe, values, where)
    raise RecipeError(
        f"unit in {where} must be word or subword", found=repr(unit), do='add unit = "word" or unit = "subword"'
    )


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes, sorted."""
    folder = data_folder("tokenizers")
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*.toml"))


@cache
def spacy_languages() -> frozenset[str]:
    """Return the codes of spaCy's languages without importing it, which takes 1-3 s."""
    spec = importlib.util.find_spec("spacy")
    if spec is None or not spec.submodule_search_locations:
        raise RecipeError("word recipes need spaCy", found="no module spacy", do="pip install spacy")
    languages = Path(spec.submodule_search_locations[0]) / "lang"
    return frozenset(path.parent.name for path in languages.glob("*/__init__.py"))
