"""Shards: layout, deterministic bytes, and what opening and re-hashing notice."""

from __future__ import annotations

import contextlib
import errno
import json
import time
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest

from ulmfit_dist.corpus.shard import ShardReceipt, describe_damage, open_shard, write_shard
from ulmfit_dist.errors import DataError, DigestError
from ulmfit_dist.files import digest_file
from ulmfit_dist.tokenization.tokenizer import Encoded


def pair(index, ids):
    return f"{index:032x}", Encoded(np.array(ids, np.uint32), 5, 1, ids.count(0), 2.5)


def with_vocabulary(tokenizer, size):
    return type(tokenizer)(vocab_size=size)


def test_layout_is_what_design_says(tmp_path, tokenizer):
    receipt = write_shard(tmp_path / "shard-00000.h5", [pair(1, [2, 7, 0]), pair(255, [2])], tokenizer, "item")
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        assert file["tokens"][:].tolist() == [2, 7, 0, 2]
        assert file["tokens"].dtype == np.dtype("<u2")
        assert file["tokens"].chunks is None
        assert file["doc_start"][:].tolist() == [0, 3, 4]
        assert file["doc_start"].dtype == np.dtype("<u8")
        assert file["doc_id"].shape == (2, 16)
        assert bytes(file["doc_id"][1]).hex() == f"{255:032x}"
        assert file.attrs["tokenizer_fingerprint"].decode() == tokenizer.fingerprint
    assert (receipt.tokens, receipt.documents, receipt.characters) == (4, 2, 10)
    assert (receipt.unknown, receipt.unknown_bits, receipt.item_digest) == (1, 5.0, "item")
    assert (receipt.words, receipt.lengths, receipt.shortest, receipt.longest) == (2, {"1": 1, "3": 1}, 1, 3)
    assert receipt.quarantined == []
    assert receipt.xxh3_128 == digest_file(tmp_path / "shard-00000.h5")
    assert ShardReceipt(**json.loads(json.dumps(asdict(receipt)))) == receipt


@pytest.mark.parametrize(("vocab_size", "dtype", "top"), [(65_536, "<u2", 65_535), (65_537, "<u4", 65_536)])
def test_ids_take_two_bytes_as_long_as_the_vocabulary_fits(tmp_path, tokenizer, vocab_size, dtype, top):
    wide = with_vocabulary(tokenizer, vocab_size)
    receipt = write_shard(tmp_path / "shard-00000.h5", [pair(1, [2, top])], wide, "")
    tokens = open_shard(tmp_path / "shard-00000.h5", receipt).tokens
    assert tokens.dtype == np.dtype(dtype)
    assert tokens.tolist() == [2, top]


def test_equal_arguments_give_equal_bytes_at_another_time(tmp_path, tokenizer):
    pairs = [pair(1, [2, 7, 8]), pair(2, [2, 9])]
    first = write_shard(tmp_path / "a" / "shard-00000.h5", pairs, tokenizer, "item")
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    second = write_shard(tmp_path / "b" / "shard-00000.h5", pairs, tokenizer, "item")
    assert first == second
    assert (tmp_path / "a/shard-00000.h5").read_bytes() == (tmp_path / "b/shard-00000.h5").read_bytes()


def test_an_empty_shard_is_read_as_zero_tokens(tmp_path, tokenizer):
    receipt = write_shard(tmp_path / "shard-00000.h5", [], tokenizer, "")
    shard = open_shard(tmp_path / "shard-00000.h5", receipt)
    assert shard.tokens.shape == (0,)
    assert shard.doc_start.tolist() == [0]
    assert shard.doc_id.shape == (0, 16)
    assert (receipt.lengths, receipt.shortest, receipt.longest) == ({}, 0, 0)


def test_documents_that_were_set_aside_are_in_the_receipt_alone(tmp_path, tokenizer):
    aside = [("a" * 32, "its process died"), ("b" * 32, "too long")]
    plain = write_shard(tmp_path / "a" / "shard-00000.h5", [pair(1, [2])], tokenizer, "")
    receipt = write_shard(tmp_path / "b" / "shard-00000.h5", [pair(1, [2])], tokenizer, "", aside)
    assert receipt.quarantined == [{"id": identity, "reason": reason} for identity, reason in aside]
    assert receipt.xxh3_128 == plain.xxh3_128
    assert ShardReceipt(**json.loads(json.dumps(asdict(receipt)))) == receipt


def test_bits_of_unknown_words_add_up_to_the_same_however_they_are_grouped(tmp_path, tokenizer):
    bits = np.random.default_rng(3).exponential(20.0, 40).tolist()
    pairs = [(f"{n:032x}", Encoded(np.array([2], np.uint32), 1, 1, 0, b)) for n, b in enumerate(bits)]
    sums = set()
    for size in (1, 7, 40):
        parts = [pairs[low : low + size] for low in range(0, 40, size)]
        receipts = [write_shard(tmp_path / "shard-00000.h5", part, tokenizer, "") for part in parts]
        sums.add(sum(receipt.unknown_bits for receipt in receipts))
    assert len(sums) == 1
    assert sums.pop() == pytest.approx(sum(bits), abs=40 * 2**-21)


def test_tokens_are_a_view_of_the_file_not_a_copy(tmp_path, tokenizer):
    receipt = write_shard(tmp_path / "shard-00000.h5", [pair(1, [2, 7])], tokenizer, "")
    tokens = open_shard(tmp_path / "shard-00000.h5", receipt).tokens
    assert not isinstance(tokens, np.memmap)
    base = tokens
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert not tokens.flags.writeable


def test_an_id_outside_the_vocabulary_is_refused_and_leaves_no_file(tmp_path, tokenizer):
    with pytest.raises(DataError, match="outside the vocabulary"):
        write_shard(tmp_path / "shard-00000.h5", [pair(1, [2, 100])], tokenizer, "")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_with_the_file_and_leaves_no_file(tmp_path, tokenizer, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left.*shard-00000.h5"):
        write_shard(tmp_path / "shard-00000.h5", [pair(1, [2])], tokenizer, "")
    assert list(tmp_path.iterdir()) == []


def test_every_cut_of_a_shard_is_noticed_on_opening(tmp_path, tokenizer):
    path = tmp_path / "shard-00000.h5"
    receipt = write_shard(path, [pair(1, [2, *[7] * 3000])], tokenizer, "")
    whole = path.read_bytes()
    for size in range(0, len(whole), 512):
        path.write_bytes(whole[:size])
        with pytest.raises(DigestError, match=r"shard-00000.h5.*expected"):
            open_shard(path, receipt)


def test_a_changed_payload_is_named_by_its_dataset(tmp_path, tokenizer):
    path = tmp_path / "shard-00000.h5"
    receipt = write_shard(path, [pair(1, [2, 7, 8]), pair(2, [2, 9])], tokenizer, "")
    whole = path.read_bytes()
    with h5py.File(path) as file:
        places = {name: (file[name].id.get_offset(), file[name].nbytes) for name in ("tokens", "doc_start", "doc_id")}
    for name, (offset, size) in places.items():
        for position in range(offset, offset + size):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << (position % 8)
            path.write_bytes(bytes(damaged))
            assert describe_damage(path, receipt).startswith(f"{name} changed")


def test_damage_is_described_by_its_kind(tmp_path, tokenizer):
    path = tmp_path / "shard-00000.h5"
    receipt = write_shard(path, [pair(1, [2, 7, 8])], tokenizer, "")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert f"{len(whole) - 1} bytes, expected {len(whole)}; unreadable" in describe_damage(path, receipt)
    path.write_bytes(b"")
    assert "0 bytes" in describe_damage(path, receipt)
    path.write_bytes(whole + b"x")
    assert describe_damage(path, receipt) == "bytes changed outside its tokens and documents"
    write_shard(path, [pair(1, [2, 7, 9])], tokenizer, "")
    assert describe_damage(path, receipt) == "a whole shard of other documents"
    write_shard(path, [pair(1, [2, 7, 8])], type(tokenizer)(fingerprint="f" * 32), "")
    assert describe_damage(path, receipt) == f"a shard of tokenizer {'f' * 32}, expected {tokenizer.fingerprint}"


def test_no_flipped_bit_makes_opening_hang_or_crash(tmp_path, tokenizer):
    # A text of variable length in the header lies in a heap (GCOL) without checksum: HDF5 follows its sizes for ever.
    path = tmp_path / "shard-00000.h5"
    receipt = write_shard(path, [pair(1, [2, 7, 8])], tokenizer, "")
    whole = path.read_bytes()
    assert b"GCOL" not in whole
    used = [position for position, byte in enumerate(whole) if byte]
    for position in used:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << position % 8)]) + whole[position + 1 :])
        assert describe_damage(path, receipt)
        with contextlib.suppress(DigestError):
            open_shard(path, receipt)


def test_tokens_are_not_read_on_opening(tmp_path, tokenizer):
    path = tmp_path / "shard-00000.h5"
    receipt = write_shard(path, [pair(1, [2, *[7] * 3000])], tokenizer, "")
    with h5py.File(path, "r+") as file:
        file["tokens"][100] = 8
    assert open_shard(path, receipt).tokens[100] == 8


def test_a_shard_of_another_tokenizer_is_refused_by_its_header(tmp_path, tokenizer):
    path = tmp_path / "shard-00000.h5"
    receipt = write_shard(path, [pair(1, [2, 7])], tokenizer, "")
    other = type(tokenizer)(fingerprint="f" * 32)
    assert write_shard(path, [pair(1, [2, 7])], other, "").bytes == receipt.bytes
    with pytest.raises(DigestError, match="tokenizer_fingerprint"):
        open_shard(path, receipt)


def test_a_missing_shard_is_named(tmp_path, tokenizer):
    path = tmp_path / "shard-00000.h5"
    receipt = write_shard(path, [pair(1, [2])], tokenizer, "")
    path.unlink()
    with pytest.raises(DigestError, match=r"shard-00000.h5.*no file.*run the command"):
        open_shard(path, receipt)
