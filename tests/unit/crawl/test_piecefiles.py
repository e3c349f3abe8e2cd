"""Files of a piece: what is written is read back, and a cleaning stands for what was read."""

from __future__ import annotations

import numpy as np
import pytest

from ulmfit_dist.corpus.documents import Document
from ulmfit_dist.crawl import piecefiles as piecefiles_module
from ulmfit_dist.crawl.piecefiles import (
    CLEAN,
    KEPT,
    CandidateWriter,
    are_whole,
    file_digests,
    pack_row,
    read_candidates,
    read_facts,
    read_rows,
)


def write(folder, texts, stem=""):
    with CandidateWriter(folder, 3, stem) as writer:
        for number, text in enumerate(texts):
            document = Document(id=f"{number:032x}", text=text)
            writer.add(document, pack_row(document, bytes(16), 1, KEPT))
    return writer.paths


def texts(folder, rows=slice(0, 99), stem=None):
    return [text for batch in read_candidates(folder, 3, rows, stem) for text in batch.column("text").to_pylist()]


@pytest.mark.parametrize("batch_rows", [1, 2, 4096])
def test_what_is_written_is_read(tmp_path, monkeypatch, batch_rows):
    monkeypatch.setattr(piecefiles_module, "_BATCH_ROWS", batch_rows)
    paths = write(tmp_path, ["a", "bb", "", "cc"])
    assert texts(tmp_path) == ["a", "bb", "", "cc"]
    assert texts(tmp_path, slice(1, 3)) == ["bb", ""]
    rows = read_rows(tmp_path, 3)
    assert rows["characters"].tolist() == [1, 2, 0, 2]
    assert rows["id"][2].tobytes().hex() == f"{2:032x}"
    assert are_whole(tmp_path, file_digests(paths))
    digests = file_digests(paths)
    paths[0].write_bytes(b"x")
    assert not are_whole(tmp_path, digests)


def test_a_cleaning_stands_for_what_was_read(tmp_path):
    write(tmp_path, ["as read"])
    assert read_facts(tmp_path, 3) is None
    write(tmp_path, ["clean"], CLEAN)
    assert texts(tmp_path) == ["clean"]
    assert texts(tmp_path, stem="") == ["as read"]
    assert read_rows(tmp_path, 3)["characters"].tolist() == [5]
    assert read_rows(tmp_path, 3, "")["characters"].tolist() == [7]


def test_no_document_is_legal(tmp_path):
    write(tmp_path, [])
    assert texts(tmp_path) == []
    assert read_rows(tmp_path, 3).dtype == np.dtype(piecefiles_module.ROWS)
