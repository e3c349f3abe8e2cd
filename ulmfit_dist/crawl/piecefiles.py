"""Files of a piece in the folder of work in hand, named by its number.

`00000.arrow` (its documents in order), `00000.rows` (a row of ROWS for each, all that the driver must know of it),
`00000.jsonl` (its quarantine) and `00000.json` (the receipt, written last). A crawl leaves `00000.lines` and
`00000.words` for the survey; its cleaning `00000-clean.arrow`, `-clean.rows`, `-clean.facts`, `-clean.bands` and a
receipt of its own, which stand for the first ones from then on.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from ulmfit_dist.corpus.documents import DOCUMENT_SCHEMA, Document, document_batch
from ulmfit_dist.crawl.quality import NUM_MEASURES
from ulmfit_dist.files import atomic_path, digest_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

# What the driver knows of a document. `key`: 128 bits of its words, and of its split; `state`: the bits below; `split`:
# its number, or LATER.
ROWS = np.dtype([("id", "<u8", 2), ("key", "<u8", 2), ("characters", "<u4"), ("split", "u1"), ("state", "u1")])
_ROW = struct.Struct("<16s16sIBB")
# HAS_WORDS: nothing but its words decides on it, so that it can be a duplicate; KEPT: it is kept if it is none;
# NOAI, NOINDEX: its site asks for that; COMPARED: its signature is among the bands.
HAS_WORDS, KEPT, NOAI, NOINDEX, COMPARED = 1, 2, 4, 8, 16
LATER = 255
# What is known of a cleaned document. `place`: of its site, on the circle that is cut into splits.
FACTS = np.dtype([("place", "<u8"), ("lang", "S8"), ("measures", "<f4", (NUM_MEASURES,))])
CLEAN = "-clean"
_BATCH_ROWS = 4096
_BATCH_CHARACTERS = 4_000_000


def piece_path(folder: Path, index: int, suffix: str) -> Path:
    """Where a file of a piece is; `suffix` as in the module's list."""
    return folder / f"{index:05d}{suffix}"


def pack_row(document: Document, key: bytes, split: int, state: int) -> bytes:
    """Return the row of a document."""
    return _ROW.pack(bytes.fromhex(document.id), key, len(document.text), split, state)


def read_rows(folder: Path, index: int, stem: str | None = None) -> np.ndarray:
    """Return a piece's rows (dtype ROWS), mapped: those of its cleaning where there is one, or of a `stem`."""
    return _mapped(piece_path(folder, index, f"{_last(folder, index) if stem is None else stem}.rows"), ROWS)


def read_facts(folder: Path, index: int) -> np.ndarray | None:
    """Return what is known of a cleaned piece's documents (dtype FACTS), mapped; None for one that is not cleaned."""
    path = piece_path(folder, index, f"{CLEAN}.facts")
    return _mapped(path, FACTS) if path.exists() else None


def read_candidates(folder: Path, index: int, rows: slice, stem: str | None = None) -> Iterator[pa.RecordBatch]:
    """Yield a piece's documents batch by batch, cleaned where they were, or of a `stem`."""
    stem = _last(folder, index) if stem is None else stem
    with pa.memory_map(str(piece_path(folder, index, f"{stem}.arrow"))) as file:
        reader = pa.ipc.open_file(file)
        first = 0
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            start, stop = max(rows.start - first, 0), min(rows.stop - first, batch.num_rows)
            if start < stop:
                yield batch.slice(start, stop - start)
            first += batch.num_rows
            if first >= rows.stop:
                return


def read_quarantine(folder: Path, index: int) -> deque[dict[str, Any]]:
    """Return what a piece set aside: {source, position, reason, sample, after}, the last the piece's rows before it."""
    return deque(json.loads(line) for line in piece_path(folder, index, ".jsonl").read_bytes().splitlines())


def file_digests(files: list[Path]) -> dict[str, list[Any]]:
    """{name: [bytes, xxh3_128]} of files."""
    return {file.name: [file.stat().st_size, digest_file(file)] for file in files}


def are_whole(folder: Path, files: dict[str, list[Any]]) -> bool:
    """Whether files are what `file_digests` said."""
    return all(
        (folder / name).is_file() and digest_file(folder / name) == digest for name, (_, digest) in files.items()
    )


class CandidateWriter:
    """Writes the rows and documents of a piece under a stem; holds one batch. A context manager."""

    def __init__(self, folder: Path, index: int, stem: str = "") -> None:
        self.paths = [piece_path(folder, index, f"{stem}{suffix}") for suffix in (".rows", ".arrow")]
        self._pending: list[Document] = []
        self._characters = 0
        self.rows = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            rows, documents = (stack.enter_context(atomic_path(path)) for path in self.paths)
            self._rows = stack.enter_context(rows.open("wb"))
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = stack.enter_context(pa.ipc.new_file(str(documents), DOCUMENT_SCHEMA, options=options))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._stack.__exit__(kind, error, trace)

    def add(self, document: Document, row: bytes) -> None:
        """Append a document with its row."""
        self._rows.write(row)
        self.rows += 1
        self._pending.append(document)
        self._characters += len(document.text)
        if len(self._pending) == _BATCH_ROWS or self._characters >= _BATCH_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_batch(document_batch(self._pending))
        self._pending, self._characters = [], 0


def _mapped(path: Path, kind: np.dtype[Any]) -> np.ndarray:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)


def _last(folder: Path, index: int) -> str:
    return CLEAN if piece_path(folder, index, f"{CLEAN}.rows").exists() else ""
