"""The price of unknown words, by hand."""

from __future__ import annotations

import math

import pytest

from ulmfit_dist.tokenization.spelling import END, CharacterModel, count_characters


def test_counts_by_hand():
    assert count_characters({"aab": 2, "b": 3}) == {"a": 4, "b": 5, END: 5}


def test_bits_by_hand():
    model = CharacterModel({"a": 4, "b": 2, END: 1})  # and 1 for the unseen: eighths
    assert model.bits("ab") == pytest.approx(1 + 2 + 3)
    assert model.bits("") == pytest.approx(3)
    assert model.bits("c") == pytest.approx(3 + math.log2(0x110000 - 2) + 3)


def test_the_probabilities_of_all_characters_sum_to_one():
    counts = {"x": 10, "ж": 3, "字": 1, END: 5}
    model = CharacterModel(counts)
    end = model.bits("")
    seen = math.fsum(2 ** -(model.bits(c) - end) for c in "xж字")
    unseen = (0x110000 - 3) * 2 ** -(model.bits("q") - end)
    assert seen + unseen + 2**-end == pytest.approx(1)


def test_a_model_of_no_text_still_prices_a_word():
    assert CharacterModel({}).bits("ab") == pytest.approx(3 * math.log2(0x110000))


def test_words_together_cost_what_they_cost_one_by_one():
    model = CharacterModel({"a": 4, "b": 2, END: 1})
    words = ["ab", "", "cba", "aab", "c"]
    for letters in ("".join(words), sorted("".join(words))):
        assert model.bits_of_all(letters, len(words)) == pytest.approx(sum(map(model.bits, words)))
    assert model.bits_of_all("", 0) == 0
