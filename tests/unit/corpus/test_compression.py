"""Compressed files are read by their content."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pyarrow as pa
import pytest

from ulmfit_dist.corpus.compression import DAMAGED_STREAM, OpenedFile

TEXT = b"one line\nand another\n" * 4000
PACKERS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


@pytest.mark.parametrize("kind", PACKERS)
def test_one_and_two_members_are_read_whatever_the_name(tmp_path, kind):
    path = tmp_path / "data.txt"
    packed = PACKERS[kind](TEXT)
    for copies in (1, 2):
        path.write_bytes(packed * copies)
        with OpenedFile(path) as file:
            assert file.stream.readline() == b"one line\n"
            assert file.stream.read() == TEXT[9:] + TEXT * (copies - 1)
            assert file.bytes_read == len(packed) * copies


@pytest.mark.parametrize("kind", ["gzip", "bz2", "xz", "zstd"])
def test_a_cut_file_raises_one_of_the_named_errors(tmp_path, kind):
    path = tmp_path / "data"
    path.write_bytes(PACKERS[kind](TEXT)[:-5])
    with pytest.raises(DAMAGED_STREAM), OpenedFile(path) as file:
        file.stream.read()


def test_an_empty_file_is_empty(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    with OpenedFile(tmp_path / "empty") as file:
        assert file.stream.read() == b""
