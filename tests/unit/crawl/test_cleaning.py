"""Cleaning: the text that is kept, why a page is dropped, and what is left beside it for the decisions."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl.boilerplate import line_items, make_line_writer
from ulmfit_dist.crawl.candidates import PieceReader, Unguarded
from ulmfit_dist.crawl.cleaning import PieceCleaner, Survey, is_clean, read_clean_receipt
from ulmfit_dist.crawl.piecefiles import (
    COMPARED,
    HAS_WORDS,
    KEPT,
    LATER,
    piece_path,
    read_candidates,
    read_facts,
    read_rows,
)
from ulmfit_dist.crawl.pieces import plan_pieces
from ulmfit_dist.crawl.quality import MEASURES
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.crawl.splits import place_of


@pytest.fixture
def clean(tmp_path, warc):
    """`clean([(text, url)], source=, **settings)` -> (documents, rows, facts, receipt) of one crawl, cleaned."""

    def run(pages, source=None, **settings):
        records = [
            warc.record("response", n, warc.response(warc.html(text)), uri=url) for n, (text, url) in enumerate(pages)
        ]
        (tmp_path / "c.warc").write_bytes(b"".join(records))
        ingest = IngestSettings(sources=[{"path": str(tmp_path / "c.warc"), **(source or {})}], **settings)
        (piece,) = plan_pieces([(tmp_path / "c.warc", "c.warc")], SourceColumns(), None, lambda _: [])
        PieceReader(ingest, ["train", "valid"], tmp_path).read(piece, Unguarded(), lambda _: None)
        paths = [piece_path(tmp_path, 0, ".lines")]
        for item in line_items(paths):
            make_line_writer(paths, tmp_path, 5, 0.2)(item)
        survey = Survey(tmp_path, len(line_items(paths)), {}, "")
        PieceCleaner(ingest, ["train", "valid"], tmp_path, survey).clean(piece, "basis")
        assert is_clean(tmp_path, piece, "basis")
        assert not is_clean(tmp_path, piece, "another")
        documents = [row for batch in read_candidates(tmp_path, 0, slice(0, 99)) for row in batch.to_pylist()]
        return documents, read_rows(tmp_path, 0), read_facts(tmp_path, 0), read_clean_receipt(tmp_path, piece)

    return run


def numbered(warc, count):
    """Texts of a site, each with a line of its own; the second line stands on all."""
    return [f"{warc.english}{chr(97 + n)} is the letter.</p><p>All rights reserved {n}.</p>" for n in range(count)]


def test_boilerplate_goes_and_personal_data_is_masked(clean, warc):
    texts = [text + "<p>Write to jane@example.net.</p>" if n == 3 else text for n, text in enumerate(numbered(warc, 8))]
    documents, rows, facts, receipt = clean([(text, f"http://www.example.org/{n}") for n, text in enumerate(texts)])
    assert not any("reserved" in document["text"] for document in documents)
    assert documents[3]["text"].endswith("Write to email@example.com.")
    assert rows["characters"].tolist() == [len(document["text"]) for document in documents]
    assert (receipt.counts["boilerplate_lines"], receipt.counts["masked_email"]) == (8, 1)
    assert set(rows["state"].tolist()) == {HAS_WORDS | KEPT | COMPARED}
    assert set(rows["split"].tolist()) == {LATER}
    assert set(facts["place"].tolist()) == {place_of("example.org", 0)}
    assert set(facts["lang"].tolist()) == {b"en"}
    words = facts["measures"][:, MEASURES.index("words")]
    assert words[0] == len([word for word in documents[0]["text"].split() if any(map(str.isalnum, word))])


def test_reasons_of_a_cleaning(clean, warc, tmp_path):
    (tmp_path / "block.txt").write_text("bad.org\n")
    german = (
        "Das Museum \u00f6ffnete im Fr\u00fchling seine T\u00fcren, und viele Menschen kamen in Scharen herbei. " * 3
    )
    pages = [(warc.english, "http://a.org/"), ("short", "http://b.org/"), (german, "http://c.org/")]
    pages += [(warc.english, "http://sub.bad.org/"), ("", "http://d.org/"), ("zq " * 100, "http://e.org/")]
    crawl = {"blocklists": [str(tmp_path / "block.txt")]}
    documents, rows, _, receipt = clean(pages, languages=["en"], crawl=crawl)
    assert [document["reason"] for document in documents] == [
        "", "too_short", "language", "blocked", "empty", "undetermined",
    ]  # fmt: skip
    assert documents[3]["text"] == ""
    assert (rows["state"] & KEPT != 0).tolist() == [True] + [False] * 5
    counted = Counter()
    for reasons in receipt.dropped.values():
        counted.update(reasons)
    assert counted == Counter(document["reason"] for document in documents[1:])


def test_what_keeps_its_duplicates_is_not_compared(clean, warc):
    _, rows, _, _ = clean([(warc.english, "http://a.org/")], source={"split": "valid"})
    assert rows["state"].tolist() == [HAS_WORDS | KEPT]
    assert rows["split"].tolist() == [1]
    assert clean([(warc.english, "http://a.org/")], crawl={"near_duplicate_similarity": 0})[1]["state"] & COMPARED == 0


def test_a_page_that_is_nothing_but_boilerplate(clean, warc):
    same = [(warc.english, f"http://example.org/{n}") for n in range(6)]
    documents, _, facts, _ = clean(same)
    assert {document["reason"] for document in documents} == {"boilerplate"}
    assert not facts["measures"].any()


def test_places_by_text_differ_and_do_not_by_site(clean, warc):
    pages = [(text, f"http://w{n}.example.org/") for n, text in enumerate(numbered(warc, 3))]
    assert len(np.unique(clean(pages)[2]["place"])) == 1
    assert len(np.unique(clean(pages, crawl={"split_by": "text"})[2]["place"])) == 3
    json.dumps(clean(pages)[3].counts)
