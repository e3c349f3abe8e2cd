"""A tokenizer's description says of it what the opened tokenizer says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster.described import describe_tokenizer
from ulmfit_dist.errors import InputError
from ulmfit_dist.tokenization.recipe import SubwordRecipe, WordRecipe
from ulmfit_dist.tokenization.subword import SubwordTokenizer, train_subword
from ulmfit_dist.tokenization.tokenizer import load_tokenizer
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer

TEXTS = [f"The boat number {number} went out to sea {number * 7} times in the year ." for number in range(60)]


def _word() -> WordTokenizer:
    recipe = WordRecipe(min_freq=1, max_vocab=40)
    return WordTokenizer(recipe, build_vocabulary(count_words(TEXTS, WordSplitter(recipe)), recipe))


def _subword() -> SubwordTokenizer:
    return train_subword(TEXTS, SubwordRecipe(language="en", vocab_size=40, character_coverage=1.0))


@pytest.mark.parametrize("make", [_word, _subword])
def test_the_description_agrees_with_the_tokenizer(make: object, tmp_path: Path) -> None:
    made = make()  # type: ignore[operator]
    made.save(tmp_path)
    described, opened = describe_tokenizer(tmp_path), load_tokenizer(tmp_path)
    for name in ("unit", "fingerprint", "vocab_size", "pad_id"):
        assert getattr(described, name) == getattr(opened, name), name
    assert described.recipe == made.recipe


@pytest.mark.parametrize("content", [None, "[1, 2]", "{not json", '{"unit": "word", "recipe": {"unit": "word"}}'])
def test_what_describes_no_tokenizer_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=r"is not a tokenizer folder; found: tokenizer\.json: .*; do: name a folder"):
        describe_tokenizer(tmp_path)
