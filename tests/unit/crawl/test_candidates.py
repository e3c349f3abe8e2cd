"""Candidates: what a piece leaves is whole or is read again, and what a guard sets aside is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl import candidates as candidates_module
from ulmfit_dist.crawl.candidates import (
    HAS_WORDS,
    KEPT,
    PieceReader,
    Unguarded,
    is_read,
    read_quarantine,
    read_receipt,
    read_rows,
    read_split,
    write_lost,
)
from ulmfit_dist.crawl.pieces import plan_pieces
from ulmfit_dist.crawl.settings import IngestSettings

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


def texts_of(folder, split, rows=slice(0, 10**9)):
    return [text for batch in read_split(folder, 0, split, rows) for text in batch.column("text").to_pylist()]


def test_rows_say_what_the_driver_must_know(make, monkeypatch):
    monkeypatch.setattr(candidates_module, "_BATCH_ROWS", 3)
    reader, piece, folder = make(lines("one two", " one  two ", "", "\x07", *(f"text {n}" for n in range(20))))
    told = []
    reader.read(piece, Unguarded(), told.append)
    rows = read_rows(folder, 0)
    assert len(rows) == 24
    assert len(np.unique(rows["id"], axis=0)) == 24
    assert rows["key"][0].tolist() == rows["key"][1].tolist() != rows["key"][4].tolist()
    assert rows["state"].tolist() == [HAS_WORDS | KEPT] * 2 + [0, 0] + [HAS_WORDS | KEPT] * 20
    by_split = {split: texts_of(folder, split) for split in SPLITS}
    assert {split: len(texts) for split, texts in by_split.items()} == {
        split: int((rows["split"] == number).sum()) for number, split in enumerate(SPLITS)
    }
    assert rows["characters"][rows["split"] == 0].tolist() == [len(text) for text in by_split["train"]]
    assert texts_of(folder, "train", slice(2, 9)) == by_split["train"][2:9]
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


@pytest.mark.parametrize("name", ["00000.rows", "00000-train.arrow", "00000.jsonl"])
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
    assert sorted(texts_of(folder, "train") + texts_of(folder, "valid")) == ["one", "three"]
    records = [(r["position"], r["reason"], r["after"]) for r in read_quarantine(folder, 0)]
    assert records == [("2", "the worker process died", 1), ("line 3", "not JSON", 1)]


def test_a_piece_that_is_given_up_is_one_record_and_all_its_bytes(make):
    _, piece, folder = make(lines("one", "two"))
    write_lost(folder, piece, SPLITS, "the worker process died")
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
