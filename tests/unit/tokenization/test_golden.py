"""Every golden.jsonl of tokenizers/: exact tokens of word recipes, exact normalisation of SentencePiece recipes."""

from __future__ import annotations

import json
from functools import cache

import pytest
import sentencepiece

from ulmfit_dist.config import data_folder
from ulmfit_dist.tokenization.recipe import load_recipe, recipe_names
from ulmfit_dist.tokenization.segmenters import SEGMENTERS, missing_packages
from ulmfit_dist.tokenization.word import WordSplitter


def cases():
    for path in sorted(data_folder("tokenizers").glob("*/golden.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            case = json.loads(line)
            yield pytest.param(f"{path.parent.name}/{case.pop('recipe')}", case, id=f"{path.parent.name}:{number}")


@cache
def splitter(name):
    return WordSplitter(load_recipe(name))


@pytest.mark.parametrize(("name", "case"), list(cases()))
def test_golden(name, case):
    language, _, kind = name.partition("/")
    if kind.startswith("word") and language in SEGMENTERS and missing_packages(language):
        pytest.skip(missing_packages(language))
    recipe = load_recipe(name)
    if recipe.unit == "word":
        assert splitter(name).tokens(case["text"]) == case["tokens"]
    else:
        normalizer = sentencepiece.SentencePieceNormalizer(rule_name=recipe.normalization)
        assert normalizer.normalize(case["text"]).replace("\u2581", " ").removeprefix(" ") == case["normalised"]


def test_every_recipe_has_golden_cases():
    assert {case.values[0] for case in cases()} == set(recipe_names())
