"""spaCy as shipped says what the words are: our settings of it, and many chunks a call, change nothing."""

from __future__ import annotations

import random

import pytest
import spacy

from ulmfit_dist.tokenization import spacy_words
from ulmfit_dist.tokenization.spacy_words import SpacyWords

LANGUAGES = ("en", "de", "fr", "es", "ru", "tr", "hi", "ar", "ms", "xx")


def pieces(language):
    cases = list(spacy.blank(language).tokenizer.rules)
    return [
        *cases,
        "Haus",
        "U.S.A.",
        "(don't)",
        "10km",
        "в",
        "т.ч.",
        "l'eau",
        "x@y.org",
        "5€",
        "सौ",
        "مرحبا",
        "İstanbul'da",
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_are_those_of_spacy_as_shipped(language):
    randomness = random.Random(language)
    made, plain = SpacyWords(language), spacy.blank(language).tokenizer
    choices = pieces(language)
    for _ in range(100):
        text = "".join(randomness.choice(choices) + randomness.choice([" ", "", "\n", "  "]) for _ in range(8))
        assert made.words(text) == [token.text for token in plain(text)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_each_chunk_are_those_of_the_chunk_alone(language):
    plain = spacy.blank(language).tokenizer
    chunks = [chunk for piece in pieces(language) for chunk in piece.split()][:400]
    chunks += [f"({chunks[0]} {chunks[-1]})", "a b", "M", "\x00", "\u200b"]
    assert SpacyWords(language).words_of_each(chunks) == [[token.text for token in plain(chunk)] for chunk in chunks]


def test_more_chunks_than_a_call_takes(monkeypatch):
    made = SpacyWords("en")
    expected = made.words_of_each(["a,", "b", "don't", "e.g."])
    monkeypatch.setattr(spacy_words, "_CHUNKS_A_CALL", 3)
    assert made.words_of_each(["a,", "b", "don't", "e.g."]) == expected == [["a", ","], ["b"], ["do", "n't"], ["e.g."]]
    assert made.words_of_each([]) == []


def test_without_special_cases_a_chunk_is_cut_by_affixes_alone():
    made = SpacyWords("en")
    bare = made.words_of_each([":)", "e.g."], special_cases=False)
    assert bare == [[":", ")"], ["e.g", "."]]
    assert made.words_of_each([":)", "e.g."]) == [[":)"], ["e.g."]]


def test_strings_that_are_to_stay_whole_do():
    assert SpacyWords("en").words("<eos>") != ["<eos>"]
    assert SpacyWords("en", ("<eos>",)).words("<eos>") == ["<eos>"]


def test_spaced_cases_are_those_with_other_white_space_than_blanks_inside():
    assert SpacyWords("ms").spaced_cases == ["M\n"]
    assert SpacyWords("en").spaced_cases == []
    assert "в т.ч." not in SpacyWords("ru").spaced_cases
