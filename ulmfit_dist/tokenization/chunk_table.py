"""The chunk table: the tokens of each distinct chunk of a corpus, computed once for the whole cluster.

A new chunk costs 12 us, a known one 0.05: sixty workers that each start with nothing would cut the same chunks sixty
times. A table is a folder of parts (ranges of hashes, counted.py) and `table.json`, written last. Its files are mapped
read-only, so that the workers of a node share one copy of them; opening one takes no time. A part is an Arrow table
(hash, chunk, tokens between blanks, flags), sorted by hash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ulmfit_dist.errors import DigestError
from ulmfit_dist.files import digest_file, read_json, write_json
from ulmfit_dist.tokenization.chunks import batches, is_marker, split
from ulmfit_dist.tokenization.counted import Counted, count_keys, hash_keys, part_of, without_keys, write_arrow
from ulmfit_dist.tokenization.rawtext import replace_lone_surrogates

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from ulmfit_dist.tokenization.word import WordSplitter

TABLE_NAME = "table.json"
Entry = tuple[list[str], int]
Cut = Callable[[list[str]], list[Entry]]
MapChunks = Callable[[Cut, list[str]], list[tuple[str, Entry]]]


@dataclass(frozen=True)
class PartReceipt:
    """A finished part: its file, how many chunks it holds, and how many occurrences of chunks it covers."""

    name: str
    xxh3_128: str
    chunks: int
    occurrences: int


def write_part(path: Path, counted: Counted, splitter: WordSplitter, each: MapChunks) -> PartReceipt:
    """Cut the chunks of one part into tokens and write it; `each` may leave out chunks that cannot be cut."""
    cut = each(splitter.chunk_cutter.cut, counted.keys.to_pylist())
    entries = [entry for _, entry in cut]
    chunks = [chunk for chunk, _ in cut]
    table = pa.table(
        {
            "hash": hash_keys(chunks),
            "chunk": pa.array(chunks, pa.large_string()),
            "tokens": pa.array([" ".join(tokens) for tokens, _ in entries], pa.large_string()),
            "flags": np.array([flags for _, flags in entries], np.uint8),
        }
    )
    write_arrow(path, table)
    return PartReceipt(path.name, digest_file(path), len(entries), int(counted.counts.sum()))


def write_table(folder: Path, parts: Sequence[PartReceipt], identity: str, sources: Sequence[str]) -> None:
    """Make a folder of parts (a power of two of them, in order) a table.

    identity: the splitter's; sources: digests of the work items whose chunks it holds.
    """
    described = {"identity": identity, "sources": sorted(sources), "parts": [asdict(part) for part in parts]}
    write_json(folder / TABLE_NAME, described)


def covers(folder: Path, sources: Collection[str]) -> bool:
    """Whether a table holds the chunks of all these work items."""
    return set(sources) <= set(read_json(folder / TABLE_NAME)["sources"])


class ChunkTable:
    """An opened chunk table."""

    def __init__(self, folder: Path, identity: str) -> None:
        """Open a table that was made with the splitter of this identity.

        Raises DigestError when it is of another one or a part is not the file that was written.
        """
        description = read_json(folder / TABLE_NAME)
        if description["identity"] != identity:
            found = f"{description['identity']}, expected {identity}"
            raise DigestError(f"{folder} was made with other rules", found=found, do=f"delete {folder}")
        self._parts = []
        for part in description["parts"]:
            path = folder / part["name"]
            if not path.is_file() or digest_file(path) != part["xxh3_128"]:
                raise DigestError(f"{path} is damaged or missing", found="another digest", do=f"delete {folder}")
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            columns = {name: _column(table, name) for name in ("chunk", "tokens", "flags")}
            self._parts.append((_column(table, "hash").to_numpy(), columns))

    def find(self, chunks: Sequence[str]) -> list[Entry | None]:
        """Return the tokens and the flags of each chunk, None for one that is not in the table."""
        found: list[Entry | None] = [None] * len(chunks)
        hashes = hash_keys(chunks)
        part = part_of(hashes, len(self._parts))
        for number in np.unique(part).tolist():
            places = np.flatnonzero(part == number)
            known, columns = self._parts[number]
            rows = np.minimum(np.searchsorted(known, hashes[places]), len(known) - 1)
            places, rows = (x[known[rows] == hashes[places]] for x in (places, rows)) if len(known) else ([], [])
            here = (columns[name].take(pa.array(rows, pa.int64())).to_pylist() for name in ("chunk", "tokens", "flags"))
            for place, chunk, tokens, flags in zip(places, *here, strict=True):
                if chunks[place] == chunk:  # two chunks may have one hash
                    found[place] = (tokens.split(" "), flags)
        return found


def count_chunks(texts: Sequence[str], splitter: WordSplitter) -> Counted:
    """Count the chunks of raw documents, without cutting any into tokens."""
    keys, counts = [pa.array([], pa.large_string())], [np.zeros(0, np.int64)]
    for batch in batches(texts):
        prepared = (splitter.chunk_cutter.prepare(replace_lone_surrogates(text)) for text in batch)
        found = split(text for text in prepared if text is not None).dictionary_encode()
        keys.append(found.dictionary)
        counts.append(np.bincount(found.indices.to_numpy(), minlength=len(found.dictionary)))
    counted = count_keys(pa.concat_arrays(keys), np.concatenate(counts))
    return without_keys(counted, [key for key in counted.keys.to_pylist() if is_marker(key)])


def _column(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    assert column.num_chunks <= 1, "a part is written in one batch, so that it is mapped and never copied"
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
