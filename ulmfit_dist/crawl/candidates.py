"""Candidates: the documents of one piece, decided as far as one piece alone allows, before duplicates are known.

A piece's files are named by its number: `00000-<split>.arrow` (the documents of a split, in order), `00000.rows` (a row
of ROWS for each document, all that the driver must know of it), `00000.jsonl` (its quarantine) and `00000.json` (the
receipt, written last).
"""

from __future__ import annotations

import json
import struct
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa
import xxhash

from ulmfit_dist.corpus.documents import DOCUMENT_SCHEMA, DROP, KEEP, Document, document_batch
from ulmfit_dist.corpus.locations import as_local_file
from ulmfit_dist.corpus.quarantine import Quarantine, Tally
from ulmfit_dist.corpus.sources import SourceReader
from ulmfit_dist.crawl.language import LanguageDetector
from ulmfit_dist.crawl.normalise import normalise
from ulmfit_dist.crawl.pages import page_document
from ulmfit_dist.crawl.splits import split_of
from ulmfit_dist.crawl.warc import WarcReader
from ulmfit_dist.files import atomic_path, digest_file, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from ulmfit_dist.corpus.records import SourceColumns
    from ulmfit_dist.crawl.pieces import Piece
    from ulmfit_dist.crawl.settings import IngestSettings

T = TypeVar("T")

# What the driver knows of a document. `key`: 128 bits of its words, and of its split; `state`: the bits below.
ROWS = np.dtype([("id", "<u8", 2), ("key", "<u8", 2), ("characters", "<u4"), ("split", "u1"), ("state", "u1")])
_ROW = struct.Struct("<16s16sIBB")
# HAS_WORDS: nothing but its words decides on it, so that it can be a duplicate; KEPT: it is kept if it is none.
HAS_WORDS, KEPT = 1, 2
_NOTHING: dict[str, int] = {}
_BATCH_ROWS = 4096
_BATCH_CHARACTERS = 4_000_000


class Guard(Protocol):
    """How records are gone through: `set_aside` {position in the piece: reason} are to be left out by `each`."""

    set_aside: dict[int, str]

    def each(self, documents: Iterable[T]) -> Iterator[T]:
        """Yield what is not set aside."""


class Unguarded:
    """Every record, in this process."""

    def __init__(self) -> None:
        self.set_aside: dict[int, str] = {}

    def each(self, documents: Iterable[T]) -> Iterator[T]:
        """Yield all."""
        return iter(documents)


@dataclass(frozen=True)
class PieceReceipt:
    """What a piece gave. `lost_bytes`: of its files, unreadable; `files`: {name: [bytes, xxh3_128]}."""

    digest: str
    skipped: dict[str, int]
    lost_bytes: int
    files: dict[str, list[Any]]


class PieceReader:
    """Reads pieces into `folder`. `splits`: the names of all splits, in the order of their numbers in ROWS."""

    def __init__(self, settings: IngestSettings, splits: list[str], folder: Path) -> None:
        self._settings, self._splits, self._folder = settings, splits, folder
        self._detector: LanguageDetector | None = None

    def read(self, piece: Piece, guard: Guard, told: Callable[[int], None]) -> None:
        """Read a piece and write its files; `told` of the bytes read so far after each record."""
        with ExitStack() as stack:
            writer = stack.enter_context(_CandidateWriter(self._folder, piece.index, self._splits))
            quarantine = stack.enter_context(_PieceQuarantine(quarantine_path(self._folder, piece.index), writer))
            reading = _Reading(piece, guard, told, quarantine)
            documents = reading.pages() if piece.is_crawl else reading.documents(self._settings.columns)
            for document in documents:
                self._take(document, piece, quarantine, writer)
        _write_receipt(self._folder, piece, writer, quarantine, reading.skipped)

    def _take(self, document: Document, piece: Piece, quarantine: Tally, writer: _CandidateWriter) -> None:
        settings = self._settings
        if settings.labelled and document.label is None:
            position = document.source.removeprefix(f"{piece.name}#")
            quarantine.add(piece.name, position, "no label", document.text)
            return
        document = replace(document, text=normalise(document.text), label=document.label if settings.labelled else None)
        split = settings.sources[piece.source].split or split_of(document.text, settings.splits, settings.seed)
        number = self._splits.index(split)
        words = " ".join(document.text.split()).encode()
        has_words = document.decision == KEEP and bool(words)
        if has_words and piece.is_crawl:
            document = self._decide_on_crawl(document)
        elif document.decision == KEEP and not has_words:
            document = replace(document, decision=DROP, reason="empty")
        # The split is in the key: equal texts are compared within a split alone.
        key = xxhash.xxh3_128_digest(words, seed=number) if has_words else bytes(16)
        state = HAS_WORDS * has_words | KEPT * (document.decision == KEEP)
        writer.add(document, number, _ROW.pack(bytes.fromhex(document.id), key, len(document.text), number, state))

    def _decide_on_crawl(self, document: Document) -> Document:
        if len(document.text) < self._settings.min_characters:
            return replace(document, decision=DROP, reason="too_short")
        self._detector = self._detector or LanguageDetector()
        language = self._detector.detect(document.text)
        document = replace(document, lang=language.code, lang_score=language.score)
        if self._settings.languages and language.code not in self._settings.languages:
            return replace(document, decision=DROP, reason="language")
        return document


def write_lost(folder: Path, piece: Piece, splits: list[str], reason: str) -> None:
    """Write the files of a piece that was given up: no document, and one record in the quarantine that names it."""
    first = piece.spans[0]
    place = first.inside or first.file.name
    position = place if first.stop is None and not first.start else f"{place}, from {first.start} to {first.stop}"
    if len(piece.spans) > 1:
        position = f"{place} to {piece.spans[-1].inside}"
    with ExitStack() as stack:
        writer = stack.enter_context(_CandidateWriter(folder, piece.index, splits))
        quarantine = stack.enter_context(_PieceQuarantine(quarantine_path(folder, piece.index), writer))
        quarantine.lose(piece.name, piece.size)
        quarantine.add(piece.name, position, f"reading failed: {reason}")
    _write_receipt(folder, piece, writer, quarantine)


def read_receipt(folder: Path, piece: Piece) -> PieceReceipt | None:
    """Return what a piece gave; None when it is not read yet."""
    path = _receipt_path(folder, piece.index)
    return PieceReceipt(**read_json(path)) if path.is_file() else None


def is_read(folder: Path, piece: Piece) -> bool:
    """Whether a piece's files are there and whole; what lost bytes is read again, since they may be back."""
    receipt = read_receipt(folder, piece)
    return (
        receipt is not None
        and receipt.digest == piece.digest
        and not receipt.lost_bytes
        and all(
            (folder / name).is_file() and digest_file(folder / name) == digest
            for name, (_, digest) in receipt.files.items()
        )
    )


def read_rows(folder: Path, index: int) -> np.ndarray:
    """Return a piece's rows (dtype ROWS), mapped."""
    path = _rows_path(folder, index)
    return np.memmap(path, ROWS, "r") if path.stat().st_size else np.empty(0, ROWS)


def read_split(folder: Path, index: int, split: str, rows: slice) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a split of a piece, batch by batch; `rows` counts within the split."""
    with pa.memory_map(str(_split_path(folder, index, split))) as file:
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
    return deque(json.loads(line) for line in quarantine_path(folder, index).read_bytes().splitlines())


def quarantine_path(folder: Path, index: int) -> Path:
    """Where a piece's quarantine is written."""
    return folder / f"{index:05d}.jsonl"


class _Reading:
    """One reading of one piece: its records in order, those that the guard sets aside left out and written down."""

    def __init__(self, piece: Piece, guard: Guard, told: Callable[[int], None], quarantine: Tally) -> None:
        self._piece, self._guard, self._told, self._quarantine = piece, guard, told, quarantine
        self.skipped: Counter[str] = Counter()

    def documents(self, columns: SourceColumns) -> Iterator[Document]:
        prefix = f"{self._piece.name}#"
        yield from self._guarded(self._from_spans(columns), lambda document: document.source.removeprefix(prefix))

    def pages(self) -> Iterator[Document]:
        span = self._piece.spans[0]
        try:
            with as_local_file(span.file) as path:
                reader = WarcReader(path, self._quarantine, self._piece.name)
                # The work on a page is done after the guard has let it pass: HTML is where a process dies.
                for page in self._guarded(reader, lambda page: page.key):
                    yield page_document(page, self._piece.name)
                    self._told(reader.bytes_read)
                self.skipped = reader.skipped
        except OSError as error:
            # WarcReader goes on after damage by itself: this is a file that is gone, or a connection.
            self._quarantine.lose(self._piece.name, span.size)
            self._quarantine.add(self._piece.name, span.file.name, "damaged or cut file", str(error))

    def _from_spans(self, columns: SourceColumns) -> Iterator[Document]:
        finished = 0
        for span in self._piece.spans:
            reader = SourceReader(span, self._piece.name, columns, self._quarantine)
            for document in reader:
                yield document
                self._told(finished + reader.bytes_read)
            finished += span.size

    def _guarded(self, records: Iterable[T], position_of: Callable[[T], str]) -> Iterator[T]:
        def watched() -> Iterator[T]:
            for position, record in enumerate(islice(records, self._piece.limit)):
                if (reason := self._guard.set_aside.get(position)) is not None:
                    self._quarantine.add(self._piece.name, position_of(record), reason)
                yield record

        return self._guard.each(watched())


class _PieceQuarantine(Quarantine):
    """A piece's quarantine, which remembers how many documents came before each record."""

    def __init__(self, path: Path, writer: _CandidateWriter) -> None:
        super().__init__(path)
        self._writer = writer

    def write(self, record: dict[str, Any]) -> None:
        super().write({**record, "after": self._writer.rows})


class _CandidateWriter:
    """Writes a piece's rows and its documents by split; holds one batch of each split."""

    def __init__(self, folder: Path, index: int, splits: list[str]) -> None:
        self._rows_path = _rows_path(folder, index)
        self._split_paths = [_split_path(folder, index, split) for split in splits]
        self._pending: list[list[Document]] = [[] for _ in splits]
        self._characters = [0] * len(splits)
        self.rows = 0

    @property
    def paths(self) -> list[Path]:
        return [self._rows_path, *self._split_paths]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._rows = stack.enter_context(stack.enter_context(atomic_path(self._rows_path)).open("wb"))
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writers = [
                stack.enter_context(pa.ipc.new_file(str(handle), DOCUMENT_SCHEMA, options=options))
                for handle in [stack.enter_context(atomic_path(path)) for path in self._split_paths]
            ]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for split in range(len(self._pending)):
                self._flush(split)
        self._stack.__exit__(kind, error, trace)

    def add(self, document: Document, split: int, row: bytes) -> None:
        self._rows.write(row)
        self.rows += 1
        self._pending[split].append(document)
        self._characters[split] += len(document.text)
        if len(self._pending[split]) == _BATCH_ROWS or self._characters[split] >= _BATCH_CHARACTERS:
            self._flush(split)

    def _flush(self, split: int) -> None:
        if self._pending[split]:
            self._writers[split].write_batch(document_batch(self._pending[split]))
        self._pending[split], self._characters[split] = [], 0


def _write_receipt(
    folder: Path, piece: Piece, writer: _CandidateWriter, quarantine: Tally, skipped: Mapping[str, int] = _NOTHING
) -> None:
    files = [*writer.paths, quarantine_path(folder, piece.index)]
    receipt = PieceReceipt(
        digest=piece.digest,
        skipped=dict(sorted(skipped.items())),
        lost_bytes=quarantine.lost_bytes.total(),
        files={file.name: [file.stat().st_size, digest_file(file)] for file in files},
    )
    write_json(_receipt_path(folder, piece.index), asdict(receipt))


def _receipt_path(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.json"


def _rows_path(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.rows"


def _split_path(folder: Path, index: int, split: str) -> Path:
    return folder / f"{index:05d}-{split}.arrow"
