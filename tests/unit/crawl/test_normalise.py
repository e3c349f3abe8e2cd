"""Normalisation, against a plain statement by Unicode category."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.crawl.normalise import normalise, squeeze
from ulmfit_dist.tokenization.rawtext import FIELD_SEPARATOR, join_fields, split_fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301", "é"),
        ("a\r\nb\rc\u2028d\u0085e", "a\nb\nc\nd\ne"),
        ("a\0\x07b\x9fc\ufeffd", "abcd"),
        ("\u202eabc\u202c \u2066x\u2069", "abc x"),
        ("می\u200cخواهم ക്\u200d", "می\u200cخواهم ക്\u200d"),
        ("\U0001f469\u200d\U0001f467", "\U0001f469\u200d\U0001f467"),
        ("a\ud800b\udcff", "ab"),
        ("  a\tb  ", "a\tb"),
    ],
)
def test_cases(text, expected):
    assert normalise(text) == expected


@given(st.text(alphabet=st.characters(codec=None), max_size=80))
def test_any_text(text):
    found = normalise(text)
    found.encode()
    assert normalise(found) == found
    assert unicodedata.is_normalized("NFC", found)
    assert not any(unicodedata.category(c) == "Cc" and c not in "\t\n\x1f" for c in found)
    kept = [c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c)[0] in "LNPS"]
    assert [c for c in unicodedata.normalize("NFD", found) if unicodedata.category(c)[0] in "LNPS"] == kept


def test_fields_stay_apart():
    assert split_fields(normalise(join_fields(["a\r\n", "", "b\0"]))) == ["a\n", "", "b"]


def test_blanks_are_those_of_unicode():
    """Each white-space character but the new line and the separator is a blank, wherever it stands."""
    for blank in (chr(code) for code in range(0x110000) if chr(code).isspace() and chr(code) not in "\n\x1f"):
        assert squeeze(f"a{blank}b{blank} {blank}\n {blank}c{blank}\n{blank}\n\n\nd") == "a b\nc\n\nd"


@given(st.text(alphabet="ab \n\t\u3000\x1f", max_size=30))
def test_squeezed_text_reads_the_same(text):
    found = squeeze(text)
    lines = [" ".join(re.findall("[ab\x1f]+", line)) for line in text.split("\n")]
    assert [line for line in found.split("\n") if line] == [
        line for line in "\n".join(lines).strip().split("\n") if line
    ]
    assert not re.search(r"  | \n|\n |\n\n\n|\t|\u3000", found)


def test_squeezed_lines():
    assert squeeze(" a \t b\u00a0\u3000c \n\n \n\n d\n e ") == "a b c\n\nd\ne"
    assert squeeze(f"a{FIELD_SEPARATOR}b") == f"a{FIELD_SEPARATOR}b"
