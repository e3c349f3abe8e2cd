"""Counted strings against Counter: any sharding, any number of parts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.tokenization.counted import (
    count_keys,
    hash_keys,
    keep_keys,
    merge_counted,
    part_of,
    without_keys,
    write_counted,
)


def counted(words):
    keys = pa.array(list(words), pa.large_string())
    return count_keys(keys, np.ones(len(keys), np.int64))


WORDS = st.lists(st.text("abc\n é", max_size=3), max_size=30)


@given(shards=st.lists(WORDS, max_size=4), parts=st.sampled_from([1, 2, 8]))
def test_parts_of_merged_files_make_up_the_whole_count(tmp_path_factory, shards, parts):
    folder = tmp_path_factory.mktemp("counts")
    paths = [folder / f"{number}.arrow" for number in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        write_counted(path, counted(shard))
    merged = [merge_counted(paths, part, parts) for part in range(parts)]
    whole: Counter[str] = Counter()
    for number, part in enumerate(merged):
        assert not whole.keys() & part.as_dict().keys()
        assert (part_of(part.hashes, parts) == number).all()
        assert (np.diff(part.hashes.astype(object)) >= 0).all()
        whole.update(part.as_dict())
    assert whole == Counter(word for shard in shards for word in shard)


def test_equal_counts_are_equal_bytes_whatever_the_order(tmp_path):
    write_counted(tmp_path / "a", counted(["x", "y", "x", "zz"]))
    write_counted(tmp_path / "b", counted(["zz", "x", "x", "y"]))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_hashes_are_xxh3_of_utf8():
    assert hash_keys(["é"]).tolist() == [xxhash.xxh3_64_intdigest("é".encode())]
    assert part_of(np.array([0, 1 << 63, (1 << 64) - 1], np.uint64), 4).tolist() == [0, 2, 3]
    assert part_of(np.array([1 << 63], np.uint64), 1).tolist() == [0]


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, {"b"}), (2, {"b", "a"}), (3, {"b", "a", "c"}), (9, {"b", "a", "c", "d"})]
)
def test_the_keep_keys_ties_by_key(limit, expected):
    kept = keep_keys(counted(["a", "a", "b", "b", "b", "c", "c", "d"]), limit)
    assert set(kept.as_dict()) == expected
    assert kept.hashes.tolist() == sorted(kept.hashes.tolist())


def test_some_keys_are_always_kept():
    kept = keep_keys(counted(["a", "a", "b", "b", "b", "c", "c", "d"]), 1, always=("d", "unheard-of"))
    assert kept.as_dict() == {"b": 3, "d": 1}


def test_keys_are_left_out():
    assert without_keys(counted(["a", "b", "c"]), ("b", "z")).as_dict() == {"a": 1, "c": 1}
