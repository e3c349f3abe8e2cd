"""Token streams: what is read back is a plain concatenation; what is damaged is named."""

from __future__ import annotations

import numpy as np
import pytest

from ulmfit_dist.corpus.stream import TokenStream, verify_stream, write_manifest, write_shard
from ulmfit_dist.errors import DigestError, InputError
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
    assert stream.document_lengths.dtype == np.int64
    assert stream.num_tokens == sum(map(len, documents))
    assert stream.characters == 10 * stream.num_tokens
    assert stream.unknown_bits == pytest.approx(0.1 * len(documents))
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


def test_any_flipped_bit_of_any_file_is_found_by_verify(make_stream, documents, tmp_path):
    make_stream(documents, 2)
    folder = folder_of(tmp_path)
    random = np.random.default_rng(0)
    assert verify_stream(folder) == []
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for position in random.integers(0, len(whole), 60).tolist():
            damaged = bytearray(whole)
            damaged[position] ^= 1 << int(random.integers(8))
            path.write_bytes(bytes(damaged))
            errors = verify_stream(folder)
            assert len(errors) == 1, (path.name, position)
            assert path.name in str(errors[0])
            assert "run the command that made it again" in str(errors[0])
        path.write_bytes(whole)
    assert verify_stream(folder) == []


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


def test_swapped_shards_are_found(make_stream, documents, tmp_path):
    make_stream(documents, 2)
    folder = folder_of(tmp_path)
    first, second = folder / "shard-00000.h5", folder / "shard-00001.h5"
    content = first.read_bytes(), second.read_bytes()
    first.write_bytes(content[1])
    second.write_bytes(content[0])
    assert len(verify_stream(folder)) == 2
    with pytest.raises(DigestError):
        TokenStream.open(folder)


def test_a_folder_that_is_no_stream_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="is not a token stream.*without manifest.json"):
        TokenStream.open(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        TokenStream.open(tmp_path / "absent")
