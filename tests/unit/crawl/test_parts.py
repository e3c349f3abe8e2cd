"""Parts: the bytes that one writer of all documents would write, and a receipt that knows what it was made from."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from ulmfit_dist.corpus import documents as documents_module
from ulmfit_dist.corpus.documents import read_documents, read_manifest, write_documents
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl.candidates import PieceReader, Unguarded
from ulmfit_dist.crawl.decisions import DUPLICATE, FATES, KEY_TWICE, plan_parts
from ulmfit_dist.crawl.fates import CLUSTERED, save_fates
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.parts import is_written, make_part_writer, read_part_receipt
from ulmfit_dist.crawl.pieces import plan_pieces
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall


@pytest.fixture
def one_part(tmp_path):
    """(a part of twenty documents, its folder of pieces, the place for the result), the third row a duplicate, the
    fifth with a key used twice."""
    data = "".join(json.dumps({"text": f"text {n}", "label": n % 2}) + "\n" for n in range(20))
    (tmp_path / "d.jsonl").write_text(data)
    folder = tmp_path / "pieces"
    folder.mkdir()
    settings = IngestSettings(sources=[str(tmp_path / "d.jsonl")], labelled=True, splits={"train": 1.0})
    (piece,) = plan_pieces([(tmp_path / "d.jsonl", "d.jsonl")], SourceColumns(), None, lambda _: [])
    PieceReader(settings, ["train"], folder).read(piece, Unguarded(), lambda _: None)
    fates = np.zeros(20, FATES)
    fates["fate"][[2, 4]] = DUPLICATE, KEY_TWICE
    members = np.zeros(1, CLUSTERED)
    members["row"], members["id"], members["size"] = 6, (1, 0), 3
    save_fates(folder, 0, fates, members)
    (part,) = plan_parts(folder, [fates], ["train"], (50, 100, 100))
    return part, folder, tmp_path / "out"


def test_a_part_leaves_out_used_keys_and_drops_duplicates(one_part):
    part, folder, out = one_part
    make_part_writer(folder, out, ["train"], "basis")(part)
    receipt = read_part_receipt(folder, part)
    assert receipt.decisions == {"drop:duplicate": 1, "keep": 18}
    assert receipt.labels == {"0": 8, "1": 10}
    assert sum(group["rows"] for group in receipt.description["row_groups"]) == 19
    assert len(receipt.description["row_groups"]) > 1
    table = pq.read_table(out / "train" / "part-00000.parquet").to_pylist()
    assert [(row["text"], row["cluster"], row["cluster_size"]) for row in table[4:6]] == [
        ("text 5", "", 1),
        ("text 6", "01" + 30 * "0", 3),
    ]


def test_a_part_is_written_again_when_its_basis_or_its_file_changed(one_part):
    part, folder, out = one_part
    assert not is_written(folder, out, part, "basis")
    make_part_writer(folder, out, ["train"], "basis")(part)
    assert is_written(folder, out, part, "basis")
    assert not is_written(folder, out, part, "another")
    path = out / "train" / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_written(folder, out, part, "basis")


def test_an_ingest_writes_the_bytes_of_one_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(documents_module, "MAX_ITEM_ROWS", 40)
    (tmp_path / "d.csv").write_text("text\n" + "".join(f"text {n % 300} {'x' * (n % 90)}\n" for n in range(1000)))
    settings = IngestSettings(sources=[str(tmp_path / "d.csv")], item_characters=2000)
    monkeypatch.setattr("ulmfit_dist.crawl.ingest.MAX_ITEM_ROWS", 40)
    ingest(StageCall(settings, {}, tmp_path / "out", Silent()))
    for split in ("train", "valid"):
        documents = list(read_documents(tmp_path / "out" / split, None))
        write_documents(tmp_path / "again" / split, documents, 2000)
        assert read_manifest(tmp_path / "out" / split) == read_manifest(tmp_path / "again" / split)
        for path in (tmp_path / "again" / split).iterdir():
            assert path.read_bytes() == (tmp_path / "out" / split / path.name).read_bytes()
