"""Word counts, and the vocabulary, which is a plain function of them."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from ulmfit_dist.errors import DataError
from ulmfit_dist.tokenization import vocabulary
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.rules import rule_set
from ulmfit_dist.tokenization.special import SPECIALS
from ulmfit_dist.tokenization.vocabulary import Vocabulary, WordCounts, build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter

TEXTS = ["The cat sat.", "the DOG sat", "", "a b a b", "zebra apple", "apple\nzebra"] * 3


def recipe(**values):
    return WordRecipe(**{"min_freq": 1, **values})


def test_counts_equal_a_counter_over_all_tokens():
    splitter = WordSplitter(recipe())
    counts = count_words(iter(TEXTS), splitter)
    expected = Counter(token for text in TEXTS for token in splitter.tokens(text) if token not in SPECIALS)
    assert counts.words == expected
    assert (counts.documents, counts.types, counts.tokens) == (len(TEXTS), len(expected), expected.total())
    assert counts.characters[""] == expected.total()


def test_batches_of_documents_make_no_difference(monkeypatch):
    splitter = WordSplitter(recipe())
    whole = count_words(TEXTS, splitter)
    monkeypatch.setattr(vocabulary, "_DOCUMENTS_A_BATCH", 4)
    assert count_words(TEXTS, splitter) == whole


def test_characters_are_those_of_words_not_of_special_tokens():
    counts = WordCounts.of({"xxbos": 5, "xxmaj": 2, "ab": 3, "b": 1, "é👍": 2}, 5)
    assert counts.words == {"ab": 3, "b": 1, "é👍": 2}
    assert counts.characters == {"a": 3, "b": 4, "é": 2, "👍": 2, "": 6}
    assert build_vocabulary(counts, recipe()).characters == counts.characters


def test_order_is_count_then_token_after_the_special_tokens():
    counts = WordCounts.of({"xxbos": 99, "b": 5, "a": 5, "c": 7, "rare": 2}, 99)
    assert build_vocabulary(counts, recipe(min_freq=3)).itos == (*SPECIALS, "c", "a", "b")
    assert build_vocabulary(counts, recipe(max_vocab=12)).itos == (*SPECIALS, "c", "a")  # the special ones count


def test_a_vocabulary_comes_back(tmp_path):
    built = build_vocabulary(count_words(TEXTS, WordSplitter(recipe())), recipe())
    built.save(tmp_path / "v.json")
    loaded = Vocabulary.load(tmp_path / "v.json")
    assert loaded == built
    assert [loaded.stoi[token] for token in loaded.itos] == list(range(len(loaded.itos)))


def test_no_documents_is_a_data_error():
    with pytest.raises(DataError, match="no text") as caught:
        build_vocabulary(WordCounts.of({}, 0), recipe())
    assert caught.value.exit_code == 1


def test_no_frequent_word_is_a_data_error():
    with pytest.raises(DataError, match=r"min_freq = 3.*most frequent word 2 times.*lower min_freq"):
        build_vocabulary(WordCounts.of({"xxbos": 9, "a": 2}, 9), recipe(min_freq=3))


def test_the_most_frequent_words_are_enough():
    whole = WordCounts.of({"b": 5, "a": 5, "c": 7, "d": 4}, 9)
    frequent = dataclasses.replace(whole, words={"b": 5, "a": 5, "c": 7})
    assert build_vocabulary(frequent, recipe(max_vocab=13)) == build_vocabulary(whole, recipe(max_vocab=13))


@pytest.mark.parametrize("rules", ["fastai-1", "fastai-2"])
def test_the_vocabulary_of_fastai_1_and_2_holds_the_special_tokens(rules):
    specials = rule_set(rules).specials
    counts = WordCounts.of({"xxbos": 9, "xxmaj": 7, **dict.fromkeys("abcdef", 3), "rare": 2}, 9)
    built = build_vocabulary(counts, recipe(rules=rules, max_vocab=13, min_freq=3))
    assert built.itos == (*specials, "a", "b", "c", "d")


def test_the_vocabulary_of_fastai_0_7_is_max_vocab_words_that_occur_more_often_than_min_freq_and_two():
    counts = WordCounts.of({"xbos": 9, "xfld": 9, "1": 9, "t_up": 5, **dict.fromkeys("abcdefghij", 3)}, 9)
    itos = build_vocabulary(counts, recipe(rules="fastai-0.7", max_vocab=12, min_freq=2)).itos
    assert itos == ("_unk_", "_pad_", "1", "xbos", "xfld", "t_up", *"abcdefgh")
    assert len(itos) == 12 + 2
    assert len(build_vocabulary(counts, recipe(rules="fastai-0.7", min_freq=3)).itos) == 2 + 4


def test_a_vocabulary_without_the_beginning_of_documents_is_a_data_error():
    counts = WordCounts.of({"xbos": 2, "xfld": 2, "1": 2, "a": 9}, 2)
    with pytest.raises(DataError, match=r"lacks xbos.*fastai-0\.7.*2 documents, min_freq = 2.*more documents"):
        build_vocabulary(counts, recipe(rules="fastai-0.7", min_freq=2))
    with pytest.raises(DataError, match=r"more than min_freq = 9 times.*most frequent word 9 times"):
        build_vocabulary(counts, recipe(rules="fastai-0.7", min_freq=9))
