"""The training sample of SentencePiece: cut lines, nothing skipped, free of the order of documents."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.tokenization.rawtext import join_fields
from ulmfit_dist.tokenization.sample import MAX_LINE_BYTES, cut_lines, sample_lines

DOCUMENTS = [f"document {n}\nline two of {n}\n\nthird {'x' * (n % 17 + 1)}" for n in range(300)]


@given(st.text(), st.integers(4, 40))
def test_cut_lines_fit_and_lose_nothing_but_white_space(text, limit):
    lines = list(cut_lines(text, limit))
    assert all(0 < len(line.encode()) <= limit for line in lines)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("one\n\n two \r\nthree", 100, ["one", "two", "three"]),
        ("One two. Three four.", 12, ["One two.", "Three four."]),
        ("Costs 3.50 now! ok", 16, ["Costs 3.50 now!", "ok"]),  # a stop inside a number is no end
        ("one two three", 9, ["one two", "three"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("好。吃吗？", 9, ["好。", "吃吗？"]),  # three bytes each
        ("ไทยไทย ไทย", 25, ["ไทยไทย", "ไทย"]),
        ("éééé", 5, ["éé", "éé"]),  # not inside a character
    ],
)
def test_where_lines_are_cut(text, limit, expected):
    assert list(cut_lines(text, limit)) == expected


def test_a_very_long_line_takes_time_linear_in_its_length():
    assert sum(map(len, cut_lines("ab " * 1_000_000))) > 2_900_000


def test_without_need_every_line_is_taken():
    lines = sample_lines(DOCUMENTS, 10**6, seed=0)
    assert sorted(lines) == sorted(line for text in DOCUMENTS for line in text.split("\n") if line)


@given(st.randoms(), st.integers(1, 3000))
def test_the_sample_is_bounded_and_free_of_the_order(randomness, bound):
    shuffled = list(DOCUMENTS)
    randomness.shuffle(shuffled)
    lines = sample_lines(shuffled, bound, seed=3)
    assert lines == sample_lines(DOCUMENTS, bound, seed=3)
    assert sum(map(len, lines)) <= bound or len(lines) == 1
    assert sum(map(len, lines)) > bound - MAX_LINE_BYTES


def test_the_seed_chooses():
    assert sample_lines(DOCUMENTS, 500, seed=1) != sample_lines(DOCUMENTS, 500, seed=2)


def test_a_line_that_stands_in_every_document_is_not_all_or_nothing():
    lines = sample_lines([f"again\nown {n}" for n in range(400)], 1000, seed=0)
    assert 0.3 < sum(line == "again" for line in lines) / len(lines) < 0.7


def test_what_sentencepiece_refuses_is_not_in_the_sample():
    text = join_fields(["a\u2585b\0c", "x" * 10_000])
    lines = sample_lines([text], 10**6, seed=0)
    assert "a b c" in lines
    assert all(len(line.encode()) <= MAX_LINE_BYTES for line in lines)
    assert sum(line.count("x") for line in lines) == 10_000


def test_no_text_no_lines():
    assert sample_lines([], 100, 0) == sample_lines(["", " \n "], 100, 0) == []
