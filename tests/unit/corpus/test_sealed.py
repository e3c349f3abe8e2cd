"""Sealed JSON: any change of a value shows when it is read."""

from __future__ import annotations

import pytest

from ulmfit_dist.corpus.sealed import compare_file, read_sealed, write_sealed
from ulmfit_dist.errors import DigestError, InputError
from ulmfit_dist.files import digest_bytes


def test_a_sealed_value_comes_back_without_its_seal(tmp_path):
    value = {"b": 1, "a": [1.5, None, "ü"]}
    write_sealed(tmp_path / "manifest.json", value)
    assert read_sealed(tmp_path / "manifest.json", "a thing") == value


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b'{"a": 1, "digest": "0"}', b"\xff\xfe"])
def test_what_was_not_sealed_so_is_damaged(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(DigestError, match=r"manifest.json is damaged.*found.*do: delete"):
        read_sealed(path, "a thing")


def test_every_flipped_bit_shows_also_where_the_value_stays(tmp_path):
    path = tmp_path / "manifest.json"
    write_sealed(path, {"small": 1e-05, "long": 0.1 + 0.2, "text": "ü\n", "none": None, "list": [[], {}, True]})
    whole = path.read_bytes()
    assert b"1e-05" in whole
    for position in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
            with pytest.raises(DigestError):
                read_sealed(path, "a thing")


def test_no_file_is_the_users_mistake(tmp_path):
    with pytest.raises(InputError, match="is not a thing"):
        read_sealed(tmp_path / "manifest.json", "a thing")


def test_files_are_compared_by_size_and_digest(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert compare_file(path, 3, digest_bytes(b"abc")) is None
    assert "2 bytes" not in str(compare_file(path, 3, digest_bytes(b"abd")))
    assert "3 bytes, expected 4" in str(compare_file(path, 4, digest_bytes(b"abc")))
    assert "no file" in str(compare_file(tmp_path / "absent", 3, ""))
