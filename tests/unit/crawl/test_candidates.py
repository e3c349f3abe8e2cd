"""Candidates: what a piece leaves is whole or is read again, and what a guard sets aside is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl import candidates as candidates_module
from ulmfit_dist.crawl import pages as pages_module
from ulmfit_dist.crawl import piecefiles as piecefiles_module
from ulmfit_dist.crawl.candidates import PieceReader, Unguarded, is_read, make_detector, read_receipt, write_lost
from ulmfit_dist.crawl.language import Language
from ulmfit_dist.crawl.piecefiles import HAS_WORDS, KEPT, NOAI, NOINDEX, read_candidates, read_quarantine, read_rows
from ulmfit_dist.crawl.pieces import plan_pieces
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.crawl.splits import split_of

SPLITS = ["train", "valid"]


@pytest.fixture
def make(tmp_path):
    """`make(data, **settings)` -> (reader, piece, folder) for one JSON lines file."""

    def build(data, name="d.jsonl", **settings):
        (tmp_path / name).write_bytes(data)
        folder = tmp_path / "pieces"
        folder.mkdir(exist_ok=True)
        ingest = IngestSettings(sources=[str(tmp_path / name)], **settings)
        (piece,) = plan_pieces([(tmp_path / name, name)], SourceColumns(), ingest.max_documents, lambda _: [])
        return PieceReader(ingest, SPLITS, folder), piece, folder

    return build


def lines(*texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def documents_of(folder, rows=slice(0, 10**9)):
    return [row for batch in read_candidates(folder, 0, rows) for row in batch.to_pylist()]


def test_rows_say_what_the_driver_must_know(make, monkeypatch):
    monkeypatch.setattr(piecefiles_module, "_BATCH_ROWS", 3)
    reader, piece, folder = make(lines("one two", " one  two ", "", "\x07", *(f"text {n}" for n in range(20))))
    told = []
    reader.read(piece, Unguarded(), told.append)
    rows = read_rows(folder, 0)
    assert len(rows) == 24
    assert len(np.unique(rows["id"], axis=0)) == 24
    assert rows["key"][0].tolist() == rows["key"][1].tolist() != rows["key"][4].tolist()
    assert rows["state"].tolist() == [HAS_WORDS | KEPT] * 2 + [0, 0] + [HAS_WORDS | KEPT] * 20
    texts = [row["text"] for row in documents_of(folder)]
    assert texts[4:] == [f"text {n}" for n in range(20)]
    assert rows["characters"].tolist() == [len(text) for text in texts]
    splits = [split_of(text, {"train": 0.95, "valid": 0.05}, 0) for text in texts]
    assert [SPLITS[number] for number in rows["split"]] == splits
    assert [row["text"] for row in documents_of(folder, slice(2, 9))] == texts[2:9]
    assert told == sorted(told)
    assert told[-1] == piece.size


def test_equal_texts_of_two_splits_have_two_keys(make, tmp_path):
    keys = []
    for split in SPLITS:
        reader, piece, folder = make(lines("one two"))
        reader._settings = IngestSettings(sources=[{"path": str(tmp_path / "d.jsonl"), "split": split}])
        reader.read(piece, Unguarded(), lambda _: None)
        keys.append(read_rows(folder, 0)["key"].tolist())
    assert keys[0] != keys[1]


@pytest.mark.parametrize("name", ["00000.rows", "00000.arrow", "00000.jsonl"])
def test_a_piece_counts_as_read_when_all_of_it_is_whole(make, name):
    reader, piece, folder = make(lines("one", "two") + b"not JSON\n")
    assert not is_read(folder, piece)
    reader.read(piece, Unguarded(), lambda _: None)
    assert is_read(folder, piece)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert not is_read(folder, piece)
    (folder / name).unlink()
    assert not is_read(folder, piece)


def test_what_lost_bytes_is_read_again(make, tmp_path):
    reader, piece, folder = make(lines("one"))
    data = (tmp_path / "d.jsonl").read_bytes()
    (tmp_path / "d.jsonl").unlink()
    reader.read(piece, Unguarded(), lambda _: None)
    assert [record["reason"] for record in read_quarantine(folder, 0)] == ["damaged or cut file"]
    assert read_receipt(folder, piece).lost_bytes == len(data)
    assert not is_read(folder, piece)
    (tmp_path / "d.jsonl").write_bytes(data)
    reader.read(piece, Unguarded(), lambda _: None)
    assert is_read(folder, piece)


def test_what_the_guard_sets_aside_is_named_and_nothing_else_is_lost(make):
    class Guard(Unguarded):
        set_aside = {1: "the worker process died"}  # noqa: RUF012

        def __init__(self):
            pass

        def each(self, documents):
            return (document for position, document in enumerate(documents) if position not in self.set_aside)

    reader, piece, folder = make(lines("one", "two") + b"not JSON\n" + lines("three"))
    reader.read(piece, Guard(), lambda _: None)
    assert [row["text"] for row in documents_of(folder)] == ["one", "three"]
    records = [(r["position"], r["reason"], r["after"]) for r in read_quarantine(folder, 0)]
    assert records == [("2", "the worker process died", 1), ("line 3", "not JSON", 1)]


def test_a_piece_that_is_given_up_is_one_record_and_all_its_bytes(make):
    _, piece, folder = make(lines("one", "two"))
    write_lost(IngestSettings(sources=["d.jsonl"]), folder, piece, "the worker process died")
    (record,) = read_quarantine(folder, 0)
    assert (record["position"], record["reason"]) == ("d.jsonl", "reading failed: the worker process died")
    assert read_receipt(folder, piece).lost_bytes == piece.size
    assert len(read_rows(folder, 0)) == 0
    assert not is_read(folder, piece)


def test_a_crawl_that_is_gone_is_lost_and_said(make, warc, tmp_path):
    reader, piece, folder = make(b"".join(warc.pages([warc.english])), "c.warc")
    (tmp_path / "c.warc").unlink()
    reader.read(piece, Unguarded(), lambda _: None)
    assert read_receipt(folder, piece).lost_bytes == piece.size
    assert len(read_quarantine(folder, 0)) == 1


def test_a_page_is_told_by_its_language_and_what_it_asks_for(make, warc):
    asking = warc.html(warc.english).replace(b"<title>", b'<meta name="robots" content="index, noai"><title>')
    german = "Das Museum \u00f6ffnete im Fr\u00fchling seine T\u00fcren, und viele Menschen kamen in Scharen herbei. "
    lines = [f"{german}{n}" if n % 2 else f"{warc.english[:90]}{n}" for n in range(20)]
    mixed = warc.html("</p><p>".join(lines))
    headers = ["", "X-Robots-Tag: noindex\r\n"]
    bodies = zip([asking, mixed], headers, strict=True)
    pages = [warc.record("response", n, warc.response(page, extra=extra)) for n, (page, extra) in enumerate(bodies)]
    reader, piece, folder = make(b"".join(pages), "c.warc")
    reader.read(piece, Unguarded(), lambda _: None)
    assert read_rows(folder, 0)["state"].tolist() == [NOAI, NOINDEX]
    first, second = documents_of(folder)
    assert (first["lang"], first["lang_share"]) == ("en", 1.0)
    assert second["lang"] in ("multi", "und")
    words = json.loads((folder / "00000.words").read_text())
    assert words["en"]["documents"] == 1


def test_the_extractor_that_is_set_reads_the_pages(make, warc, monkeypatch):
    class Shouts:
        def text(self, html):
            return html.partition("<p>")[2].partition("</p>")[0].upper()

    asked = []
    monkeypatch.setattr(pages_module, "_extractor", lambda name: asked.append(name) or Shouts())
    data = warc.packed(warc.pages([warc.english]))
    reader, piece, folder = make(data, "c.warc.gz", crawl={"extractor": "trafilatura"})
    reader.read(piece, Unguarded(), lambda _: None)
    assert asked == ["trafilatura"]
    assert documents_of(folder)[0]["text"] == warc.english.upper().strip()


def test_where_the_rule_is_strict_the_model_must_agree(monkeypatch, tmp_path, warc):
    class Model:
        def __init__(self, path, min_score):
            assert (path.name, min_score) == ("m.ftz", 0.65)

        def detect(self, text):
            return Language("de", 1.0)

    def detected(rule):
        crawl = {"language_rule": rule, "language_model": str(tmp_path / "m.ftz")}
        return make_detector(IngestSettings.model_validate({"sources": ["x"], "crawl": crawl})).detect(warc.english)

    monkeypatch.setattr(candidates_module, "ModelDetector", Model)
    assert detected("agree") == ("de", 1.0)
    assert detected("strict").code == "und"


def test_a_table_is_cleaned_where_that_is_asked_for(make, tmp_path, warc):
    source = {"path": str(tmp_path / "d.jsonl"), "clean": "yes"}
    reader, piece, folder = make(lines(warc.english))
    reader._settings = IngestSettings(sources=[source])
    reader.read(piece, Unguarded(), lambda _: None)
    assert [row["lang"] for row in documents_of(folder)] == ["en"]
    assert (folder / "00000.lines").exists()
