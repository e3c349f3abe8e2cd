"""Documents as chunks and markers."""

from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ulmfit_dist.tokenization import chunks
from ulmfit_dist.tokenization.chunks import DOCUMENT, MARK, NEW_LINE, is_marker
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.word import WordSplitter

CUTTER = WordSplitter(WordRecipe()).chunk_cutter


def cut(text, cutter=CUTTER):
    prepared = cutter.prepare(text)
    return [chunk if not is_marker(chunk) else cutter.tokens_of_marker(chunk) for chunk in prepared.split()[1:]]


def test_white_space_is_pythons_at_every_code_point():
    points = [point for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]
    parts = pc.utf8_split_whitespace(pa.array([f"a{chr(point)}b" for point in points]))
    separates = pc.list_value_length(parts).to_numpy() == 2
    assert [points[place] for place in separates.nonzero()[0]] == [p for p in points if chr(p).isspace()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b\tc\xa0d", [["xxbos"], "a", "b", "c", "d"]),
        (" \n a \n\r\n b \n", [["xxbos"], "a", ["xxnl"], "b"]),
        ("a<br />b &amp; c", [["xxbos"], "a", ["xxnl"], "b", "&", "c"]),
        ("a\x1fb", [["xxbos", "xxfld", "1"], "a", ["xxfld", "2"], "b"]),
        ("", [["xxbos"]]),
    ],
)
def test_documents_are_cut_at_white_space(text, expected):
    assert cut(text) == expected
    assert CUTTER.prepare(text).startswith(DOCUMENT)


def test_white_space_that_is_kept_becomes_a_token_as_spacy_makes_it():
    cutter = WordSplitter(WordRecipe(rules="fastai-2")).chunk_cutter
    assert cutter._mark_white_space("a  b \n c\nd") .split() == [
        "a", f"{MARK}w20", "b", f"{MARK}wa.20", "c", f"{MARK}wa", "d",
    ]  # fmt: skip
    assert cutter.tokens_of_marker(f"{MARK}wa.9") == ["\n\t"]


def test_a_document_that_holds_a_mark_is_left_to_the_reference():
    assert CUTTER.prepare(f"a {NEW_LINE}") is None
    assert CUTTER.prepare("a &#xfdd0; b") is not None  # html.unescape gives nothing for a noncharacter


def test_chunks_are_cut_by_the_rules_and_spacy():
    cut_chunks = [tokens for tokens, _ in CUTTER.cut(["Wow!!!!", "xxbos,", "DON'T", "a b"])]
    assert cut_chunks == [
        ["xxmaj", "wow", "xxrep", "4", "!"], ["xx", "bos", ","], ["xxup", "don't"], ["a", "b"],
    ]  # fmt: skip
    assert CUTTER.cut([]) == []


def test_batches_hold_every_document_once(monkeypatch):
    monkeypatch.setattr(chunks, "_BATCH_CHARACTERS", 10)
    texts = ["a" * n for n in (3, 9, 0, 25, 4, 4, 4, 1)]
    runs = list(chunks.batches(texts))
    assert [text for run in runs for text in run] == texts
    assert [sum(map(len, run)) for run in runs] == [12, 25, 12, 1]
    assert list(chunks.batches([])) == []
