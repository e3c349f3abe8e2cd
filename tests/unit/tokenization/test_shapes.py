"""Cuts by shape against spaCy as shipped, and patterns and special cases that set chunks apart."""

from __future__ import annotations

import random
import re
import string

import pytest
import spacy
from spacy.attrs import ORTH

from ulmfit_dist.tokenization.shapes import Shapes
from ulmfit_dist.tokenization.spacy_words import SpacyWords

LANGUAGES = ("en", "de", "fr", "es", "ru", "hi", "ar", "tr", "hu", "it", "sv", "xx")
LETTERS = {"ru": "абвгдеёжшщюяАБВГЯkm", "hi": "अआकखगघचािु्", "ar": "ابتثجحخد", "hu": "aáeéoöőABÁ"}


class _Counting(SpacyWords):
    """spaCy's words, counting the chunks that are asked for with their special cases."""

    asked = 0

    def words_of_each(self, chunks, special_cases=True):
        self.asked += len(chunks)
        return super().words_of_each(chunks, special_cases)


def _chunks(language: str, cases: list[str], count: int) -> list[str]:
    randomness = random.Random(language)
    letters = LETTERS.get(language, string.ascii_lowercase + string.ascii_uppercase + "éÄß")
    out = []
    while len(out) < count:
        core = "".join(randomness.choices(letters, k=randomness.randrange(1, 7)))
        number = str(randomness.randrange(10 ** randomness.randrange(1, 6)))
        unit = randomness.choice(["km", "m²", "GB", "st", "°C", "%"])
        case = randomness.choice(cases)
        parts = [core, core, core, core.lower(), number, number + unit, case, case.lower(), f"{core}.com", f"{core}'s"]
        joined = randomness.choice(["", "-", ".", ",", "'", "’", "/", "—", "...", ":", "@", "_"])
        chunk = joined.join(randomness.choices(parts, k=randomness.choice([1, 1, 2, 2, 3])))
        before, after = randomness.choice(["", "", "(", '"', "'", "$", "#"]), randomness.choice(["", *".,;:!?)\"'%"])
        chunk = f"{before}{chunk}{after}"
        if chunk and not any(map(str.isspace, chunk)):
            out.append(chunk)
    return out


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tokens_are_spacys(language):
    shipped = spacy.blank(language).tokenizer
    words = _Counting(language)
    chunks = _chunks(language, sorted(shipped.rules), 2500)
    shapes = Shapes(words)
    first = shapes.cut(chunks)
    assert first == [[token.text for token in shipped(chunk)] for chunk in chunks]
    words.asked = 0
    assert shapes.cut(chunks) == first
    assert words.asked < len(chunks)


def test_a_known_shape_is_not_asked_for():
    words = _Counting("en")
    shapes = Shapes(words)
    shapes.cut(["Teheran,", "(house).", "well-known", "1984", "Teacher's", "10km", '"Me,"'])
    words.asked = 0
    cut = shapes.cut(["Bamakos,", "(horse).", "able-brown", "2001", "Drummer's", "37km", '"Go,"'])
    assert words.asked == 0
    assert cut == [
        ["Bamakos", ","],
        ["(", "horse", ")", "."],
        ["able", "-", "brown"],
        ["2001"],
        ["Drummer", "'s"],
        ["37", "km"],
        ['"', "Go", ",", '"'],
    ]
    for chunk in ("10kx", "Teheran;", "cannot,", "a house"):
        before = words.asked
        shapes.cut([chunk])
        assert words.asked > before, chunk


@pytest.mark.parametrize(
    ("name", "pattern", "apart"),
    [
        ("infix_finditer", "(?<=[a-m])(?=[N-Z])", "aNa aZa|aMa"),
        ("infix_finditer", r"(?<=\d)k(?=\d)", "1k1 2k2|1a1"),
        ("suffix_search", "(?<=[a-z])(?:kg|m)$", "akg bkg|akk"),
        ("suffix_search", r"[^\W\da]$", "xb yc|xa"),
        ("prefix_search", "^(?i:QU)", "quo Qun|pun"),
        ("prefix_search", r"^a\b", "a- a+|b-"),
        ("token_match", "x(?=-)", "x-y x-z|a-z"),
        ("url_match", "[a-f]+:[0-7]+$", "ab:12 cd:57|ab:18"),
    ],
)
def test_what_a_pattern_tells_apart_is_cut_apart(monkeypatch, name, pattern, apart):
    tokenizer = spacy.blank("en").tokenizer
    bound = {"infix_finditer": "finditer", "token_match": "match", "url_match": "match"}.get(name, "search")
    setattr(tokenizer, name, getattr(re.compile(pattern), bound))
    words = SpacyWords("en")
    for held in (words._tokenizer, words._bare):
        setattr(held, name, getattr(re.compile(pattern), bound))
    shapes = Shapes(words)
    same, other = apart.split("|")
    chunks = [*same.split(), other, *same.split()]
    assert shapes.cut(chunks) == [[token.text for token in tokenizer(chunk)] for chunk in chunks]
    assert shapes.cut(chunks[::-1]) == shapes.cut(chunks)[::-1]


def test_a_back_reference_takes_the_shortcut_away(monkeypatch):
    words = _Counting("en")
    patterns = {**words.patterns(), "suffix_search": re.compile(r"([a-z])\1$")}
    monkeypatch.setattr(words, "patterns", lambda: patterns)
    shapes = Shapes(words)
    shapes.cut(["house"])
    words.asked = 0
    shapes.cut(["mouse"])
    assert words.asked == 1


def test_a_special_case_of_a_known_shape_is_asked_for():
    words = SpacyWords("en")
    words._tokenizer.add_special_case("gonnae", [{ORTH: "gon"}, {ORTH: "nae"}])
    words._tokenizer.add_special_case("mouse-house", [{ORTH: "mouse-house"}])
    shapes = Shapes(words)
    assert shapes.cut(["houses", "house-mouse", "houses,", "(houses)"])[0] == ["houses"]
    chunks = ["gonnae", "mouse-house", "gonnae,", "(gonnae)", "mouse-houses", "mouse-house."]
    assert shapes.cut(chunks) == [
        ["gon", "nae"],
        ["mouse-house"],
        ["gon", "nae", ","],
        ["(", "gon", "nae", ")"],
        ["mouse", "-", "houses"],
        ["mouse-house", "."],
    ]
