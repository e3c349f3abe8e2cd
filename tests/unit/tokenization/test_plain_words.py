"""Plain words against spaCy as shipped, and patterns that take the shortcut away."""

from __future__ import annotations

import random
import re
import string

import pytest
import spacy
from spacy.attrs import ORTH

from ulmfit_dist.tokenization.plain_words import PlainWords
from ulmfit_dist.tokenization.spacy_words import SpacyWords

LANGUAGES = ("en", "de", "es", "ru", "hi", "ar", "nl", "it", "sv", "xx")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tokens_of_plain_chunks_are_spacys(language):
    plain, shipped = PlainWords(SpacyWords(language)), spacy.blank(language).tokenizer
    randomness = random.Random(language)
    cases = [case for case in shipped.rules if case.isascii()]
    seen = 0
    for number in range(600):
        letters = "".join(randomness.choices(string.ascii_letters, k=randomness.randrange(1, 9)))
        core = (letters, letters.lower(), randomness.choice(cases))[number % 3]
        chunk = core + randomness.choice(["", *string.punctuation])
        tokens = plain.tokens(chunk)
        if tokens is not None:
            seen += 1
            assert tokens == [token.text for token in shipped(chunk)], chunk
    assert seen > 60


def test_by_hand():
    plain = PlainWords(SpacyWords("en"))
    assert plain.tokens("house") == ["house"]
    assert plain.tokens("house,") == ["house", ","]
    for chunk in ("house.", "house,,", "(house", "cannot", "cannot,", "5km", "maß", "a-b", "", "house'"):
        assert plain.tokens(chunk) is None, chunk


@pytest.mark.parametrize(
    ("name", "pattern", "plain"),
    [
        ("infix_finditer", "(?<=[a-z])(?=[A-Z])", False),  # an empty match between letters
        ("infix_finditer", r"(?<=[0-9])[+\-*^](?=[0-9-])", True),
        ("suffix_search", "(?<=[0-9])(?:km|m)$", True),
        ("suffix_search", "(?:km|m)$", False),
        ("suffix_search", r"[^\W\d]$", False),
        ("prefix_search", r"^\W", True),
        ("prefix_search", "^(?i:QU)", False),
        ("token_match", "x", False),
    ],
)
def test_a_pattern_that_could_match_letters_takes_the_shortcut_away(monkeypatch, name, pattern, plain):
    words = SpacyWords("en")
    patterns = {**words.patterns(), name: re.compile(pattern)}
    monkeypatch.setattr(words, "patterns", lambda: patterns)
    assert (PlainWords(words).tokens("house") is not None) == plain


def test_a_mark_that_a_suffix_takes_with_letters_is_not_plain(monkeypatch):
    words = SpacyWords("en")
    patterns = {**words.patterns(), "suffix_search": re.compile("a,$|,$|;$")}
    monkeypatch.setattr(words, "patterns", lambda: patterns)
    plain = PlainWords(words)
    assert (plain.tokens("house,"), plain.tokens("house;")) == (None, ["house", ";"])


def test_a_special_case_is_never_plain():
    words = SpacyWords("en")
    words._tokenizer.add_special_case("gonnae", [{ORTH: "gon"}, {ORTH: "nae"}])
    assert PlainWords(words).tokens("gonnae") is None
