"""Files of counted strings, which merge in any order and in parts: neither a merge nor a file need fit one memory.

A file is an Arrow table (hash, key, count), sorted by hash, xxh3_64 of the key's UTF-8. A part is a range of hashes, so
it is a slice of every file, and the parts of a merge are independent of each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from ulmfit_dist.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path


class Counted(NamedTuple):
    """Distinct strings with their counts, sorted by hash.

    hashes: (n,) uint64; keys: an Arrow array of strings; counts: (n,) int64.
    """

    hashes: np.ndarray
    keys: pa.Array
    counts: np.ndarray

    def as_dict(self) -> dict[str, int]:
        """Return {key: count}."""
        return dict(zip(self.keys.to_pylist(), self.counts.tolist(), strict=True))


def hash_keys(keys: Iterable[str]) -> np.ndarray:
    """Return the hash of each key, (n,) uint64; lone surrogates are legal."""
    return np.array([xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")) for key in keys], np.uint64)


def count_keys(keys: pa.Array, counts: np.ndarray, hashes: np.ndarray | None = None) -> Counted:
    """Add up the counts of equal keys; `hashes` of the keys, if they are known, save a third of the time."""
    columns = {"key": keys, "count": counts} | ({} if hashes is None else {"hash": hashes})
    sums = [("count", "sum")] if hashes is None else [("count", "sum"), ("hash", "min")]
    table = pa.table(columns).group_by("key").aggregate(sums)
    merged = pa.concat_arrays([pa.array([], pa.large_string()), *table.column("key").chunks])
    hashes = hash_keys(merged.to_pylist()) if hashes is None else table.column("hash_min").to_numpy()
    order = np.argsort(hashes, kind="stable")
    totals = table.column("count_sum").to_numpy().astype(np.int64)
    return Counted(hashes[order], merged.take(pa.array(order)), totals[order])


def write_counted(path: Path, counted: Counted) -> None:
    """Write a file of counted strings, atomically."""
    table = pa.table({"hash": counted.hashes, "key": counted.keys, "count": counted.counts})
    write_arrow(path, table)


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table as an Arrow file of one batch, atomically: it can be mapped and is never copied."""
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)


def merge_counted(paths: Sequence[Path], part: int, parts: int) -> Counted:
    """Merge one of `parts` (a power of two) ranges of hashes over all files; memory holds that part alone."""
    slices = [_read_part(path, part, parts) for path in paths]
    keys = pa.concat_arrays([piece.keys for piece in slices]) if slices else pa.array([], pa.large_string())
    counts = np.concatenate([np.zeros(0, np.int64), *(piece.counts for piece in slices)])
    hashes = np.concatenate([np.zeros(0, np.uint64), *(piece.hashes for piece in slices)])
    return count_keys(keys, counts, hashes)


def part_of(hashes: np.ndarray, parts: int) -> np.ndarray:
    """Return the part that each hash belongs to, (n,) int64."""
    bits = parts.bit_length() - 1
    shifted: np.ndarray = (hashes >> np.uint64(64 - bits)).astype(np.int64) if bits else np.zeros(len(hashes), np.int64)
    return shifted


def keep_keys(counted: Counted, limit: int, always: Collection[str] = ()) -> Counted:
    """Keep the `limit` keys of highest count, ties by key, and those of `always`; still sorted by hash."""
    if len(counted.counts) <= limit:
        return counted
    table = pa.table({"count": counted.counts, "key": counted.keys})
    order = pc.sort_indices(table, sort_keys=[("count", "descending"), ("key", "ascending")]).to_numpy()[:limit]
    wanted = pc.is_in(counted.keys, pa.array(sorted(always), pa.large_string())).to_numpy(zero_copy_only=False)
    kept = np.union1d(order, np.flatnonzero(wanted)).astype(np.int64)
    return Counted(counted.hashes[kept], counted.keys.take(pa.array(kept)), counted.counts[kept])


def without_keys(counted: Counted, keys: Collection[str]) -> Counted:
    """Leave out some keys."""
    others = pc.invert(pc.is_in(counted.keys, pa.array(sorted(keys), pa.large_string())))
    kept = np.flatnonzero(others.to_numpy(zero_copy_only=False))
    return Counted(counted.hashes[kept], counted.keys.take(pa.array(kept)), counted.counts[kept])


def _read_part(path: Path, part: int, parts: int) -> Counted:
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    hashes = table.column("hash").to_numpy()
    width = (1 << 64) // parts
    start = int(np.searchsorted(hashes, np.uint64(part * width)))
    end = len(hashes) if part == parts - 1 else int(np.searchsorted(hashes, np.uint64((part + 1) * width)))
    piece = table.slice(start, end - start)
    keys = piece.column("key").chunk(0) if len(hashes) else pa.array([], pa.large_string())
    return Counted(hashes[start:end], keys, piece.column("count").to_numpy())
