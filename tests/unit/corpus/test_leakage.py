"""Leakage: planted leaks are found, near misses are not, against a brute-force statement of the definition."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.corpus.documents import Document, document_id, write_documents
from ulmfit_dist.corpus.leakage import (
    LEAKAGE_NAME,
    MIN_CONTAINED_WORDS,
    LeakageSettings,
    comparison_text,
    find_leaks,
    search_leaks,
)
from ulmfit_dist.events import Silent
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import StageCall


def documents(name, texts):
    return [Document(document_id(name, str(number)), text) for number, text in enumerate(texts)]


def found(test, training):
    first, second = documents("test", test), documents("train", training)
    numbers = {d.id: n for n, d in enumerate(first)}, {d.id: n for n, d in enumerate(second)}
    return [(numbers[0][k.test_id], numbers[1][k.training_id], k.exact) for k in find_leaks(first, second, "train")]


def test_an_equal_text_is_found_whatever_its_case_and_punctuation():
    assert found(["A  good film!"], ["other", "a good FILM ."]) == [(0, 1, True)]


def test_a_contained_text_is_found_as_whole_words_only():
    inside = "the plot is thin but charming"
    assert found([inside], [f"Well, {inside.upper()}; still."]) == [(0, 0, False)]
    assert found([inside], ["the plot is thin but charmingly made"]) == []
    assert found([inside], ["breathe plot is thin but charming"]) == []


def test_an_equal_text_is_named_before_one_that_contains_it():
    text = "one two three four five six"
    assert found([text], [f"zero {text}", text, f"{text} seven", text]) == [(0, 1, True)]


def test_short_texts_count_only_when_they_are_equal():
    short = " ".join(["good"] * (MIN_CONTAINED_WORDS - 1))
    assert found([short], [f"a {short} film"]) == []
    assert found([short], [short]) == [(0, 0, True)]


def test_texts_without_words_leak_only_into_the_same_signs():
    assert found(["!!!", ""], ["???", "", "!!!"]) == [(0, 2, True)]


def test_vowel_signs_keep_words_apart():
    # กิน eat, กัน together: the same consonants, told apart by a mark that is no letter.
    assert comparison_text("กิน") != comparison_text("กัน")
    assert comparison_text("हिन्दी") != comparison_text("हन्द")
    assert comparison_text("ﬁne Ⅳ STRASSE") == comparison_text("fine iv straße")
    assert comparison_text("can\u00adnot") == comparison_text("cannot")


@given(st.text())
def test_words_are_letters_marks_and_digits_of_any_plane(text):
    folded = unicodedata.normalize("NFKC", text).casefold()
    shown = [sign for sign in folded if unicodedata.category(sign) != "Cf"]
    words = "".join(sign if unicodedata.category(sign)[0] in "LMN" else " " for sign in shown).split()
    assert comparison_text(text) == " ".join(words or text.split())


def test_signs_beyond_the_first_plane_part_words_and_letters_there_are_kept():
    assert comparison_text("good\U0001f600film \U00010428x\U000e0001y \ud800") == "good film \U00010428xy"


@pytest.mark.parametrize("seed", range(5))
def test_against_brute_force(seed):
    chance = random.Random(seed)
    words = list("abc")
    text = lambda low, high: " ".join(chance.choices(words, k=chance.randint(low, high)))  # noqa: E731
    test = [text(1, 8) for _ in range(40)]
    training = [text(1, 40) for _ in range(60)]
    expected = []
    for number, wanted in enumerate(test):
        exact = [n for n, other in enumerate(training) if other == wanted]
        contained = [n for n, other in enumerate(training) if f" {wanted} " in f" {other} "]
        if exact:
            expected.append((number, exact[0], True))
        elif contained and len(wanted.split()) >= MIN_CONTAINED_WORDS:
            expected.append((number, contained[0], False))
    assert found(test, training) == expected
    assert any(not leak[2] for leak in expected)


def test_every_origin_is_searched_and_counted(tmp_path):
    texts = {
        "test": ["one two three four five six", "a film", "nothing of this"],
        "task train": ["A film!", "more"],
        "corpus": ["zero one two three four five six seven", "a film", "one", "two"],
    }
    for name, lines in texts.items():
        write_documents(tmp_path / name, documents(name, lines), 1000)
    inputs = {name: tmp_path / name for name in texts}
    summary = search_leaks(StageCall(LeakageSettings(), inputs, tmp_path, Silent()))
    found = read_json(tmp_path / LEAKAGE_NAME)
    assert found["test_documents"] == 3
    assert found["origins"] == summary["origins"]
    assert found["origins"] == [
        {"origin": "corpus", "documents": 4, "exact": 1, "contained": 1},
        {"origin": "task train", "documents": 2, "exact": 1, "contained": 0},
    ]
    assert summary["leaks"] == 3
    assert {(e["origin"], e["exact"]) for e in found["examples"]} == {
        ("corpus", True),
        ("corpus", False),
        ("task train", True),
    }
