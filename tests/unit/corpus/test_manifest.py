"""Manifests of streams: totals, foreign shards, labels in the order of the documents."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from ulmfit_dist.corpus.manifest import read_manifest, read_stream_labels, write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import verify_stream
from ulmfit_dist.errors import DataError, DigestError, InputError
from ulmfit_dist.tokenization.tokenizer import Encoded


def write_two(folder, tokenizer):
    def pairs(*numbers):
        return [(f"{number:032x}", Encoded(np.array([2, 0, 5], np.uint32), 7, 2, 1, 0.5)) for number in numbers]

    return [
        write_shard(folder / "shard-00000.h5", pairs(1, 2), tokenizer, "a"),
        write_shard(folder / "shard-00001.h5", pairs(3), tokenizer, "b"),
    ]


def test_totals_are_sums_and_come_back(tmp_path, tokenizer):
    receipts = write_two(tmp_path, tokenizer)
    written = write_manifest(tmp_path, receipts, tokenizer)
    found = read_manifest(tmp_path)
    assert found == written
    assert (found.tokens, found.documents, found.characters, found.unknown) == (9, 3, 21, 3)
    assert found.unknown_bits == 1.5
    assert [receipt.item_digest for receipt in found.shards] == ["a", "b"]


def test_the_manifest_bytes_depend_on_the_receipts_alone(tmp_path, tokenizer):
    contents = set()
    for name in ("one", "two"):
        write_manifest(tmp_path / name, write_two(tmp_path / name, tokenizer), tokenizer)
        contents.add((tmp_path / name / "manifest.json").read_bytes())
    assert len(contents) == 1


def test_a_shard_of_another_tokenizer_is_refused(tmp_path, tokenizer):
    receipts = write_two(tmp_path, tokenizer)
    with pytest.raises(DataError, match="another tokenizer.*shard-00000.h5, shard-00001.h5"):
        write_manifest(tmp_path, receipts, type(tokenizer)(fingerprint="0" * 32))


def test_labels_stand_beside_in_stream_order(tmp_path, tokenizer):
    receipts = write_two(tmp_path, tokenizer)
    labels = [(f"{number:032x}", label) for number, label in ((1, "neg"), (2, "pos"), (3, "neg"))]
    write_manifest(tmp_path, receipts, tokenizer, labels)
    assert read_stream_labels(tmp_path) == ["neg", "pos", "neg"]
    assert pq.read_table(tmp_path / "labels.parquet").column("id").to_pylist() == [pair[0] for pair in labels]
    (tmp_path / "labels.parquet").write_bytes(b"other")
    assert ["labels.parquet" in str(error) for error in verify_stream(tmp_path)] == [True]


def test_labels_of_other_documents_are_refused(tmp_path, tokenizer):
    receipts = write_two(tmp_path, tokenizer)
    labels = [(f"{number:032x}", "x") for number in (2, 1, 3)]
    with pytest.raises(DataError, match="labels are not of the documents"):
        write_manifest(tmp_path, receipts, tokenizer, labels)
    assert not (tmp_path / "manifest.json").exists()


def test_an_unlabelled_stream_has_no_labels(tmp_path, tokenizer):
    write_manifest(tmp_path, write_two(tmp_path, tokenizer), tokenizer)
    assert read_stream_labels(tmp_path) is None


def test_an_edited_manifest_and_another_format_are_told_apart(tmp_path, tokenizer):
    write_manifest(tmp_path, write_two(tmp_path, tokenizer), tokenizer)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"tokens": 9', '"tokens": 8'))
    with pytest.raises(DigestError, match=r"manifest.json is damaged"):
        read_manifest(tmp_path)
    value = json.loads(path.read_text())
    from ulmfit_dist.corpus.sealed import write_sealed

    write_sealed(path, {**{key: item for key, item in value.items() if key != "digest"}, "format": 99})
    with pytest.raises(InputError, match="another format version.*99"):
        read_manifest(tmp_path)
