"""Counts merge in any order; the vocabulary is a plain function of them."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.errors import DataError
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.special import SPECIALS
from ulmfit_dist.tokenization.spelling import count_characters
from ulmfit_dist.tokenization.vocabulary import Vocabulary, WordCounts, build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter

TEXTS = ["The cat sat.", "the DOG sat", "", "a b a b", "zebra apple", "apple\nzebra"] * 3


def recipe(**values):
    return WordRecipe(**{"min_freq": 1, **values})


def test_counts_equal_a_counter_over_all_tokens():
    splitter = WordSplitter(recipe())
    counts = count_words(TEXTS, splitter)
    assert counts.tokens == Counter(token for text in TEXTS for token in splitter.tokens(text))
    assert counts.tokens["xxbos"] == counts.documents == len(TEXTS)


def test_characters_are_those_of_words_not_of_special_tokens():
    counts = WordCounts(Counter({"xxbos": 5, "xxmaj": 2, "ab": 3, "b": 1}), 5)
    assert count_characters(counts.words({"xxbos", "xxmaj", "xxup"})) == {"a": 3, "b": 4, "": 4}


@given(st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 5)), min_size=1), st.randoms())
def test_the_vocabulary_does_not_depend_on_sharding(shards, randomness):
    parts = [WordCounts(Counter(shard), 1) for shard in shards]
    whole = WordCounts(sum((Counter(shard) for shard in shards), Counter({"z": 1})), len(shards) + 1)
    randomness.shuffle(parts)
    merged = WordCounts(Counter({"z": 1}), 1)
    merged.merge(*parts)
    assert merged == whole
    assert build_vocabulary(merged, recipe(max_vocab=13)) == build_vocabulary(whole, recipe(max_vocab=13))


def test_order_is_count_then_token_after_the_special_tokens():
    counts = WordCounts(Counter({"xxbos": 99, "b": 5, "a": 5, "c": 7, "rare": 2}), 99)
    assert build_vocabulary(counts, recipe(min_freq=3)).itos == (*SPECIALS, "c", "a", "b")
    assert build_vocabulary(counts, recipe(max_vocab=12)).itos == (*SPECIALS, "c", "a")  # the special ones count


def test_saved_counts_are_sorted_and_come_back(tmp_path):
    items = list(count_words(TEXTS, WordSplitter(recipe())).tokens.items())
    WordCounts(Counter(dict(items)), 3).save(tmp_path / "one.json")
    random.Random(0).shuffle(items)
    WordCounts(Counter(dict(items)), 3).save(tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert WordCounts.load(tmp_path / "two.json") == WordCounts(Counter(dict(items)), 3)


def test_a_vocabulary_comes_back(tmp_path):
    vocabulary = build_vocabulary(count_words(TEXTS, WordSplitter(recipe())), recipe())
    vocabulary.save(tmp_path / "v.json")
    loaded = Vocabulary.load(tmp_path / "v.json")
    assert loaded == vocabulary
    assert [loaded.stoi[token] for token in loaded.itos] == list(range(len(loaded.itos)))


def test_no_documents_is_a_data_error():
    with pytest.raises(DataError, match="no text") as caught:
        build_vocabulary(WordCounts(), recipe())
    assert caught.value.exit_code == 1


def test_no_frequent_word_is_a_data_error():
    with pytest.raises(DataError, match=r"min_freq = 3.*most frequent word 2 times.*lower min_freq"):
        build_vocabulary(WordCounts(Counter({"xxbos": 9, "a": 2}), 9), recipe(min_freq=3))
