"""Token streams: what is read back is a plain concatenation; what is damaged is named."""

from __future__ import annotations

import resource
import shutil
from itertools import pairwise

import h5py
import numpy as np
import pytest

from ulmfit_dist.corpus.stream import TokenStream, read_manifest, verify_stream, write_manifest, write_shard
from ulmfit_dist.errors import DataError, DigestError, InputError
from ulmfit_dist.tokenization.tokenizer import Encoded


def folder_of(tmp_path):
    return next(tmp_path.glob("stream-*"))


@pytest.mark.parametrize("num_shards", [1, 2, 5])
def test_a_stream_is_the_concatenation_of_its_documents(make_stream, documents, num_shards):
    stream = make_stream(documents, num_shards)
    assert len(stream.shard_tokens) == num_shards
    assert np.concatenate(stream.shard_tokens).tolist() == [token for document in documents for token in document]
    assert [stream.document(index).tolist() for index in range(stream.num_documents)] == documents
    assert [stream.document_id(index) for index in range(stream.num_documents)] == [
        f"{index:032x}" for index in range(len(documents))
    ]
    assert stream.document_lengths.tolist() == [len(document) for document in documents]
    assert stream.document_lengths.dtype == stream.document_starts.dtype == np.int64
    assert stream.document_starts.tolist() == np.cumsum([0, *map(len, documents)]).tolist()
    sizes = [len(tokens) for tokens in stream.shard_tokens]
    assert stream.shard_starts.tolist() == (np.cumsum(sizes) - sizes).tolist()
    assert stream.num_tokens == sum(map(len, documents))
    assert stream.characters == 10 * stream.num_tokens
    assert stream.unknown_bits == pytest.approx(0.1 * len(documents), abs=1e-4)
    assert (stream.vocab_size, stream.pad_id) == (100, 1)


def test_empty_shards_between_full_ones_are_read_as_nothing(tmp_path, tokenizer):
    def shard(index, rows):
        pairs = [(f"{row[1]:032x}", Encoded(np.array(row, np.uint32), 1, 1, 0, 0.0)) for row in rows]
        return write_shard(tmp_path / f"shard-{index:05d}.h5", pairs, tokenizer, "")

    rows = [[2, 7], [2, 8, 9]]
    receipts = [shard(0, []), shard(1, rows[:1]), shard(2, []), shard(3, rows[1:]), shard(4, [])]
    write_manifest(tmp_path, receipts, tokenizer)
    stream = TokenStream.open(tmp_path)
    assert [stream.document(index).tolist() for index in range(2)] == rows
    assert [int(stream.document_id(index), 16) for index in range(2)] == [7, 8]
    assert verify_stream(tmp_path) == []


def test_a_stream_without_shards_is_legal(tmp_path, tokenizer):
    write_manifest(tmp_path, [], tokenizer)
    stream = TokenStream.open(tmp_path)
    assert (stream.num_tokens, stream.num_documents, len(stream.document_lengths)) == (0, 0, 0)


def test_large_vocabularies_are_read_back(make_stream):
    stream = make_stream([[2, 69_999], [2, 65_536]], 2, vocab_size=70_000)
    assert stream.shard_tokens[0].dtype == np.dtype("<u4")
    assert np.concatenate(stream.shard_tokens).tolist() == [2, 69_999, 2, 65_536]


def regions(path):
    """The file in parts: each dataset of a shard, and what lies before, between and behind; other files as one."""
    size = path.stat().st_size
    if path.suffix != ".h5":
        return [(0, size)]
    with h5py.File(path) as file:
        datasets = [file[name] for name in ("tokens", "doc_start", "doc_id")]
        cuts = [cut for data in datasets for cut in (data.id.get_offset(), data.id.get_offset() + data.nbytes)]
    edges = sorted({0, *cuts, size})
    return list(pairwise(edges))


def test_any_flipped_bit_of_any_region_of_any_file_is_found(make_stream, documents, tmp_path, tokenizer):
    make_stream(documents, 2)
    folder = folder_of(tmp_path)
    receipts = read_manifest(folder).shards
    write_manifest(folder, receipts, tokenizer, [(f"{index:032x}", "x") for index in range(len(documents))])
    random = np.random.default_rng(0)
    assert verify_stream(folder) == []
    flips = 0
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for low, high in regions(path):
            for position in random.integers(low, high, 35).tolist():
                damaged = bytearray(whole)
                damaged[position] ^= 1 << int(random.integers(8))
                path.write_bytes(bytes(damaged))
                errors = verify_stream(folder)
                assert len(errors) == 1, (path.name, position)
                assert str(path) in str(errors[0])
                assert "run the command that made it again" in str(errors[0])
                flips += 1
        path.write_bytes(whole)
    assert flips >= 300
    assert verify_stream(folder) == []


def test_any_cut_of_any_file_is_found(make_stream, documents, tmp_path):
    make_stream(documents, 2)
    folder = folder_of(tmp_path)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            assert [str(path) in str(error) for error in verify_stream(folder)] == [True]
        path.write_bytes(whole)


def test_each_of_several_bad_files_is_named(make_stream, documents, tmp_path):
    make_stream(documents, 5)
    folder = folder_of(tmp_path)
    (folder / "shard-00001.h5").unlink()
    cut = folder / "shard-00003.h5"
    cut.write_bytes(cut.read_bytes()[:-1])
    (folder / "shard-00009.h5").write_bytes(b"of another run")
    errors = verify_stream(folder)
    assert [name for name in ("00001", "00003", "00009") if any(name in str(error) for error in errors)] == [
        "00001", "00003", "00009",
    ]  # fmt: skip
    assert len(errors) == 3
    with pytest.raises(DigestError, match="shard-00001"):
        TokenStream.open(folder)


def test_swapped_shards_are_found_and_told_apart(make_stream, documents, tmp_path):
    make_stream(documents, 2)
    folder = folder_of(tmp_path)
    first, second = folder / "shard-00000.h5", folder / "shard-00001.h5"
    first.rename(folder / "aside")
    second.rename(first)
    (folder / "aside").rename(second)
    errors = [str(error) for error in verify_stream(folder)]
    assert len(errors) == 2
    assert "shard-00000.h5 is damaged or is another file; found: the whole of shard-00001.h5" in errors[0]
    assert "shard-00001.h5 is damaged or is another file; found: the whole of shard-00000.h5" in errors[1]
    assert all("do: give each file its own name back" in error for error in errors)
    with pytest.raises(DigestError):
        TokenStream.open(folder)


def test_foreign_shards_are_found_and_named_so(make_stream, documents, tmp_path, tokenizer):
    make_stream(documents, 2)
    folder = folder_of(tmp_path)
    path = folder / "shard-00001.h5"
    pairs = [(f"{index:032x}", Encoded(np.array([2, 5], np.uint32), 1, 1, 0, 0.0)) for index in range(5)]
    write_shard(path, pairs, tokenizer, "")
    assert ["found: a whole shard of other documents" in str(error) for error in verify_stream(folder)] == [True]
    write_shard(path, pairs, type(tokenizer)(fingerprint="f" * 32), "")
    assert [f"found: a shard of tokenizer {'f' * 32}" in str(error) for error in verify_stream(folder)] == [True]
    with pytest.raises(DigestError, match="shard-00001"):
        TokenStream.open(folder)


def test_what_the_manifest_does_not_list_is_found(make_stream, documents, tmp_path):
    make_stream(documents, 2)
    folder = folder_of(tmp_path)
    shutil.copyfile(folder / "shard-00001.h5", folder / "shard-00002.h5")
    (folder / "labels.parquet").write_bytes(b"of another run")
    errors = [str(error) for error in verify_stream(folder)]
    assert [name in error for name, error in zip(["labels.parquet", "shard-00002.h5"], errors, strict=True)] == [
        True
    ] * 2
    assert all("does not list; do: delete" in error for error in errors)
    assert TokenStream.open(folder).num_documents == len(documents)


def test_a_stream_of_more_shards_than_open_files_are_allowed_is_opened(make_stream, documents):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        stream = make_stream(documents, len(documents))
        assert [stream.document(index).tolist() for index in range(len(documents))] == documents
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 64 + len(documents)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_shards_than_can_be_allowed_are_refused_with_the_cure(make_stream, documents, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(DataError, match=f"{len(documents)} shards, 64 open files are allowed.*ulimit -Hn"):
        make_stream(documents, len(documents))


def test_a_folder_that_is_no_stream_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="is not a token stream.*without manifest.json"):
        TokenStream.open(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        TokenStream.open(tmp_path / "absent")
