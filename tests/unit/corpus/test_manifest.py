"""Manifests of streams: totals, foreign shards, labels in the order of the documents."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pyarrow.parquet as pq
import pytest

from ulmfit_dist.corpus.manifest import extend_manifest, read_manifest, read_stream_labels, write_manifest
from ulmfit_dist.corpus.sealed import write_sealed
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import TokenStream, verify_stream
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


def test_a_stream_may_have_several_labels(tmp_path, tokenizer):
    receipts = write_two(tmp_path, tokenizer)
    rows = [(f"{number:032x}", topic, tone) for number, topic, tone in ((1, "a", "x"), (2, "b", "y"), (3, "a", "z"))]
    write_manifest(tmp_path, receipts, tokenizer, rows, ("topic", "tone"))
    assert read_stream_labels(tmp_path, "topic") == ["a", "b", "a"]
    assert read_stream_labels(tmp_path, "tone") == ["x", "y", "z"]
    with pytest.raises(InputError, match="no such label"):
        read_stream_labels(tmp_path)


def test_two_shards_of_one_name_are_refused(tmp_path, tokenizer):
    first, _ = write_two(tmp_path, tokenizer)
    with pytest.raises(DataError, match="two shards of one name.*shard-00000.h5"):
        write_manifest(tmp_path, [first, first], tokenizer)


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
    write_sealed(path, {**{key: item for key, item in value.items() if key != "digest"}, "format": 99})
    with pytest.raises(InputError, match="another format version.*99"):
        read_manifest(tmp_path)


def write_parts(folder, tokenizer, documents, size):
    """A stream of (ids, characters, words, unknown bits) documents, `size` a shard, each third one set aside too."""
    receipts = []
    for number, low in enumerate(range(0, len(documents), size)):
        part = range(low, min(low + size, len(documents)))
        pairs = [
            (f"{i:032x}", Encoded(np.array(d[0], np.uint32), d[1], d[2], d[0].count(0), d[3]))
            for i, d in ((i, documents[i]) for i in part)
        ]
        aside = [(f"{i:032x}", "too long" if i % 2 else "its process died") for i in part if i % 3 == 0]
        receipts.append(write_shard(folder / f"shard-{number:05d}.h5", pairs, tokenizer, f"{number}", aside))
    return write_manifest(folder, receipts, tokenizer)


@pytest.fixture
def varied():
    random = np.random.default_rng(8)
    lengths = [1, 31, 32, 33, 700, *random.integers(1, 400, 30).tolist()]
    return [
        ([2, *random.integers(0, 30, length - 1).tolist()], 5 * length, length // 2, float(random.exponential(9.0)))
        for length in lengths
    ]


def test_statistics_are_those_of_the_documents(tmp_path, tokenizer, varied):
    found = write_parts(tmp_path, tokenizer, varied, 4)
    lengths = sorted(len(ids) for ids, *_ in varied)
    tokens, words = sum(lengths), sum(document[2] for document in varied)
    assert (found.tokens, found.documents, found.words) == (tokens, 35, words)
    assert found.characters == sum(document[1] for document in varied)
    assert found.tokens_per_word == pytest.approx((tokens - 35) / words)
    assert found.unknown_rate == pytest.approx(sum(ids.count(0) for ids, *_ in varied) / tokens)
    assert found.unknown_bits == pytest.approx(sum(document[3] for document in varied), abs=1e-4)
    described = found.document_lengths
    assert (described["min"], described["max"]) == (lengths[0], lengths[-1])
    assert described["mean"] == pytest.approx(tokens / 35)
    assert lengths[17] <= described["percentiles"]["50"] < lengths[17] * 17 / 16
    assert found.quarantined == {"its process died": 6, "too long": 6}


def test_statistics_do_not_depend_on_how_the_documents_are_sharded(tmp_path, tokenizer, varied):
    manifests = [write_parts(tmp_path / str(size), tokenizer, varied, size) for size in (1, 3, 10, 35)]
    assert [len(manifest.shards) for manifest in manifests] == [35, 12, 4, 1]
    for name in [field.name for field in fields(manifests[0]) if field.name != "shards"]:
        values = [getattr(manifest, name) for manifest in manifests]
        assert values == [values[0]] * 4, name


def test_a_stream_without_documents_has_statistics_of_zero(tmp_path, tokenizer):
    found = write_manifest(tmp_path, [], tokenizer)
    assert (found.tokens_per_word, found.unknown_rate, found.document_lengths["mean"]) == (0.0, 0.0, 0.0)
    assert found.quarantined == {}


def append(folder, tokenizer, *numbers):
    pairs = [(f"{number:032x}", Encoded(np.array([2, 9, number], np.uint32), 4, 1, 0, 0.0)) for number in numbers]
    return write_shard(folder / f"shard-{numbers[0]:05d}.h5", pairs, tokenizer, "c")


def state(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}


def test_appending_adds_files_and_rewrites_nothing_but_the_manifest(tmp_path, tokenizer):
    labels = [(f"{number:032x}", label) for number, label in ((1, "neg"), (2, "pos"), (3, "neg"))]
    old = write_manifest(tmp_path, write_two(tmp_path, tokenizer), tokenizer, labels)
    reader = TokenStream.open(tmp_path)
    before = state(tmp_path)
    for number, name in ((4, "labels-00001.parquet"), (5, "labels-00002.parquet")):
        receipt = append(tmp_path, tokenizer, number)
        new = extend_manifest(tmp_path, [receipt], [(f"{number:032x}", "new")])
        assert new.shards[-1] == receipt
        assert (tmp_path / name).is_file()
    after = state(tmp_path)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: value for name, value in before.items() if name != "manifest.json"
    }
    assert before["manifest.json"] != after["manifest.json"]
    assert new == read_manifest(tmp_path)
    assert (new.shards[:2], new.documents, new.tokens) == (old.shards, 5, 15)
    assert read_stream_labels(tmp_path) == ["neg", "pos", "neg", "new", "new"]
    assert verify_stream(tmp_path) == []
    assert [reader.document(index).tolist() for index in range(reader.num_documents)] == [[2, 0, 5]] * 3
    assert TokenStream.open(tmp_path).document(4).tolist() == [2, 9, 5]


def test_an_appended_stream_is_that_of_all_documents_at_once(tmp_path, tokenizer):
    appended = write_manifest(tmp_path, write_two(tmp_path, tokenizer), tokenizer)
    receipt = append(tmp_path, tokenizer, 4)
    appended = extend_manifest(tmp_path, [receipt])
    content = (tmp_path / "manifest.json").read_bytes()
    assert write_manifest(tmp_path, appended.shards, tokenizer) == appended
    assert (tmp_path / "manifest.json").read_bytes() == content


@pytest.mark.parametrize("killed_at", ["labels", "manifest"])
def test_an_append_that_dies_leaves_the_old_stream(tmp_path, tokenizer, monkeypatch, killed_at):
    labels = [(f"{number:032x}", "x") for number in (1, 2, 3)]
    old = write_manifest(tmp_path, write_two(tmp_path, tokenizer), tokenizer, labels)
    receipt = append(tmp_path, tokenizer, 4)
    new_labels = [(f"{4:032x}", "y")]
    dying = {"labels": "write_labels", "manifest": "write_sealed"}[killed_at]
    with monkeypatch.context() as patch:
        patch.setattr(f"ulmfit_dist.corpus.manifest.{dying}", dies)
        with pytest.raises(KeyboardInterrupt):
            extend_manifest(tmp_path, [receipt], new_labels)
    assert read_manifest(tmp_path) == old
    assert TokenStream.open(tmp_path).num_documents == 3
    assert read_stream_labels(tmp_path) == ["x"] * 3
    left = {"labels": ["shard-00004.h5"], "manifest": ["labels-00001.parquet", "shard-00004.h5"]}[killed_at]
    errors = sorted(map(str, verify_stream(tmp_path)))
    assert [name in error for name, error in zip(left, errors, strict=True)] == [True] * len(left)
    assert all("does not list" in error and "if an append was cut short, run it again" in error for error in errors)
    extend_manifest(tmp_path, [append(tmp_path, tokenizer, 4)], new_labels)
    assert verify_stream(tmp_path) == []
    assert read_stream_labels(tmp_path) == ["x", "x", "x", "y"]


def dies(*_):
    raise KeyboardInterrupt


def test_what_does_not_belong_is_not_appended(tmp_path, tokenizer):
    write_manifest(tmp_path, write_two(tmp_path, tokenizer), tokenizer)
    content = (tmp_path / "manifest.json").read_bytes()
    receipt = append(tmp_path, tokenizer, 4)
    with pytest.raises(DataError, match="two shards of one name.*shard-00001.h5"):
        extend_manifest(tmp_path, [receipt, read_manifest(tmp_path).shards[1]])
    with pytest.raises(DataError, match="the stream has no labels"):
        extend_manifest(tmp_path, [receipt], [(f"{4:032x}", "x")])
    with pytest.raises(DataError, match="another tokenizer.*shard-00006.h5"):
        extend_manifest(tmp_path, [append(tmp_path, type(tokenizer)(fingerprint="0" * 32), 6)])
    assert (tmp_path / "manifest.json").read_bytes() == content


def test_a_labelled_stream_takes_labelled_documents_only(tmp_path, tokenizer):
    labels = [(f"{number:032x}", "x") for number in (1, 2, 3)]
    write_manifest(tmp_path, write_two(tmp_path, tokenizer), tokenizer, labels)
    with pytest.raises(DataError, match="the new documents none"):
        extend_manifest(tmp_path, [append(tmp_path, tokenizer, 4)])
