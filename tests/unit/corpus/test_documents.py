"""Document folders: what is written is read back, cut into work items, with the same bytes every time."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ulmfit_dist.corpus import documents as documents_module
from ulmfit_dist.corpus.documents import (
    Document,
    PartWriter,
    document_batch,
    document_id,
    read_documents,
    read_item,
    read_labels,
    read_manifest,
    verify_documents,
    work_items,
    write_documents,
)
from ulmfit_dist.errors import DigestError, InputError


def rows_of_groups(path):
    metadata = pq.ParquetFile(path).metadata
    return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]


def make(number, text="", **fields):
    return Document(id=document_id("source.csv", str(number)), text=text or f"text {number} ü ไทย 👩‍👩‍👧", **fields)


def corpus(count):
    return [
        make(
            number,
            url="http://x",
            lang="en",
            lang_score=0.1 * number,
            label=None if number % 3 else "pos",
            decision="drop" if number % 4 == 1 else "keep",
            reason="duplicate" if number % 4 == 1 else "",
        )
        for number in range(count)
    ]


def test_every_field_comes_back_and_dropped_rows_stay(tmp_path):
    written = corpus(10)
    manifest = write_documents(tmp_path, written, 60)
    assert list(read_documents(tmp_path, None)) == written
    assert list(read_documents(tmp_path)) == [d for d in written if d.decision == "keep"]
    assert list(read_documents(tmp_path, "drop")) == [d for d in written if d.decision == "drop"]
    kept = [d for d in written if d.decision == "keep"]
    assert (manifest.rows, manifest.kept, manifest.characters) == (10, len(kept), sum(len(d.text) for d in kept))
    assert manifest.decisions == {"drop:duplicate": 3, "keep": 7}
    assert read_manifest(tmp_path) == manifest
    assert list(read_labels(tmp_path)) == [(d.id, d.label or "") for d in kept]


def test_a_row_group_closes_once_it_holds_the_characters(tmp_path):
    write_documents(tmp_path, [make(n, "x" * 10) for n in range(7)], 25)
    assert rows_of_groups(tmp_path / "part-00000.parquet") == [3, 3, 1]


def test_a_row_group_of_short_documents_closes_by_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr(documents_module, "MAX_ITEM_ROWS", 4)
    write_documents(tmp_path, [make(n, "x") for n in range(9)], 10**6)
    assert rows_of_groups(tmp_path / "part-00000.parquet") == [4, 4, 1]


def test_how_a_table_is_chunked_does_not_show_in_the_part(tmp_path):
    documents = [make(n, f"{n} words in a row " * 9) for n in range(3000)]
    for name, step in (("a", 3000), ("b", 7)):
        batches = [document_batch(documents[start : start + step]) for start in range(0, len(documents), step)]
        with PartWriter(tmp_path / name, 0) as writer:
            writer.add(pa.Table.from_batches(batches))
    assert (tmp_path / "a/part-00000.parquet").read_bytes() == (tmp_path / "b/part-00000.parquet").read_bytes()


def test_label_columns_are_named_in_the_manifest_and_read_apart(tmp_path):
    labels = ["pos\x1fshort", "neg\x1f", None]
    write_documents(tmp_path, [make(n, label=label) for n, label in enumerate(labels)], 60, ["mood", "size"])
    assert read_manifest(tmp_path).label_names == ["mood", "size"]
    assert [row[1:] for row in read_labels(tmp_path)] == [("pos", "short"), ("neg", ""), ("", "")]


def test_a_corpus_without_labels_names_none(tmp_path):
    assert write_documents(tmp_path, [make(1)], 60).label_names == []
    assert list(read_labels(tmp_path)) == [(make(1).id,)]


def test_work_items_together_are_the_kept_documents(tmp_path):
    written = corpus(23)
    write_documents(tmp_path, written, 60)
    items = work_items(tmp_path)
    assert [item.index for item in items] == list(range(len(items)))
    read = [document for item in items for document in read_item(pickle.loads(pickle.dumps(item)))]
    assert read == [d for d in written if d.decision == "keep"]
    assert sum(item.rows for item in items) == len(read)
    assert sum(item.characters for item in items) == sum(len(d.text) for d in read)
    assert len({item.digest for item in items}) == len(items) > 3


def test_a_work_item_is_named_by_its_content(tmp_path):
    for name, change in (("a", {}), ("b", {}), ("c", {"text": "other"}), ("d", {"label": "neg"})):
        write_documents(tmp_path / name, [replace(document, **change) for document in corpus(3)], 10**6)
    digests = [work_items(tmp_path / name)[0].digest for name in "abcd"]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_parts_are_cut_and_bytes_do_not_depend_on_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(documents_module, "ROW_GROUPS_PER_PART", 2)
    for name in ("a", "deeper/b"):
        write_documents(tmp_path / name, corpus(23), 60)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["manifest.json", *(f"part-{i:05d}.parquet" for i in range(len(files) - 1))]
    assert len(files) > 3
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "deeper/b" / name).read_bytes()
    assert list(read_documents(tmp_path / "a", None)) == corpus(23)


def test_no_document_is_legal(tmp_path):
    manifest = write_documents(tmp_path, [], 100)
    assert (manifest.rows, manifest.parts) == (0, [])
    assert list(read_documents(tmp_path)) == []
    assert work_items(tmp_path) == []
    assert verify_documents(tmp_path) == []


def test_a_row_group_of_dropped_documents_is_no_work_item(tmp_path):
    write_documents(tmp_path, [make(1, decision="drop", reason="empty"), make(2, "x" * 99)], 1)
    assert [item.row_group for item in work_items(tmp_path)] == [1]


def test_an_error_while_writing_leaves_no_manifest_and_no_temporary(tmp_path):
    with pytest.raises(RuntimeError), PartWriter(tmp_path, 0) as writer:
        writer.add(pa.Table.from_batches([document_batch([make(1)])]))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="not a document folder"):
        read_manifest(tmp_path)


def test_damage_is_found_by_reading_and_by_verify(tmp_path):
    write_documents(tmp_path, corpus(6), 60)
    path = tmp_path / "part-00000.parquet"
    whole = path.read_bytes()
    silent = 0
    for position in range(4, len(whole), 41):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(bytes(damaged))
        assert ["part-00000.parquet" in str(error) for error in verify_documents(tmp_path)] == [True]
        try:
            texts = [(d.id, d.text, d.label) for d in read_documents(tmp_path)]
        except DigestError as error:
            assert "part-00000.parquet" in str(error)  # noqa: PT017
        else:
            silent += texts != [(d.id, d.text, d.label) for d in corpus(6) if d.decision == "keep"]
    assert silent == 0
    path.write_bytes(whole[:-1])
    with pytest.raises(DigestError, match="part-00000.parquet"):
        list(read_documents(tmp_path))


def test_ids_are_of_name_and_key():
    assert document_id("a.csv", "1") == document_id("a.csv", "1")
    assert len({document_id("a.csv", "1"), document_id("a.csv", "2"), document_id("b.csv", "1")}) == 3
    # The separator keeps ("a", "bc") and ("ab", "c") apart.
    assert document_id("a", "bc") != document_id("ab", "c")
    assert len(document_id("\udcff", "x")) == 32
