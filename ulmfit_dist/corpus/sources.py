"""Sources: raw files become documents, before any rule of the crawl looks at them.

A source is one file (CSV of 2018, CSV, TSV, JSON lines, Parquet, plain text: one document a file; each may be
compressed), a folder of such files, or a folder of class-named folders of text files. WARC is read by crawl/warc.py.
A record that cannot be read is set aside; a source that cannot be read at all is an InputError.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from ulmfit_dist.corpus.compression import DAMAGED_STREAM, OpenedFile
from ulmfit_dist.corpus.documents import Document, document_id
from ulmfit_dist.corpus.formats import Format, detect_format, files_below
from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.corpus.records import MAX_RECORD_CHARACTERS, BadRecord, Record, SourceColumns
from ulmfit_dist.corpus.tables import TableReader
from ulmfit_dist.errors import InputError
from ulmfit_dist.tokenization.rawtext import join_fields

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SourceColumns", "SourceReader", "check_labels", "check_source", "no_labels", "read_source"]

_CHECKED_ROWS = 1000


class SourceReader:
    """Reads one source as documents; iterate once. `name` stands for the source in ids, `source` and the quarantine.

    `bytes_read` says how far the reading is, in bytes on disk. Raises InputError for a source that cannot be read at
    all. A document's `source` is "name#key", its id the hash of the two.
    """

    def __init__(self, path: Path, columns: SourceColumns, quarantine: Tally, name: str = "") -> None:
        self._path, self._columns, self._quarantine = path, columns, quarantine
        self.name = name or path.name
        self._finished_bytes = 0
        self._open: OpenedFile | None = None

    @property
    def bytes_read(self) -> int:
        """Bytes of the source's files read so far."""
        return self._finished_bytes + (self._open.bytes_read if self._open else 0)

    def __iter__(self) -> Iterator[Document]:
        kind = detect_format(self._path, self._columns.texts)
        if kind == "classes":
            for file in files_below(self._path):
                label = file.relative_to(self._path).parts[0]
                yield from self._documents(file, "text", file.relative_to(self._path).as_posix(), label)
        elif kind == "folder":
            for file in files_below(self._path):
                yield from self._file_of_folder(file, file.relative_to(self._path).as_posix())
        else:
            yield from self._documents(self._path, kind, "")

    def _file_of_folder(self, file: Path, relative: str) -> Iterator[Document]:
        try:
            kind = detect_format(file, self._columns.texts)
        except InputError as error:
            # One empty or foreign file does not condemn a folder of thousands.
            self._quarantine.add(self.name, relative, "unreadable file", error.found)
            return
        yield from self._documents(file, kind, relative)

    def _documents(self, file: Path, kind: Format, inside: str, label: str | None = None) -> Iterator[Document]:
        """The documents of one file; `inside`: its place in a folder source, which opens its records' keys."""
        try:
            for record in self._records(file, kind, inside):
                key = ":".join(part for part in (inside, record.key) if part)
                yield Document(
                    id=document_id(self.name, key),
                    text=record.text,
                    url=record.url,
                    date=record.date,
                    source=f"{self.name}#{key}",
                    label=label or record.label,
                )
        except BadRecord as bad:
            self._quarantine.add(self.name, inside or file.name, bad.reason, bad.sample)
        except DAMAGED_STREAM as error:
            self._quarantine.add(self.name, inside or file.name, "damaged or cut file", str(error))
        self._finished_bytes += file.stat().st_size

    def _records(self, file: Path, kind: Format, inside: str) -> Iterator[Record]:
        prefix = f"{inside}, " if inside else ""

        def set_aside(position: str, reason: str, sample: str) -> None:
            self._quarantine.add(self.name, prefix + position, reason, sample)

        if kind == "warc":
            do = "give crawl files as sources of their own"
            raise InputError(f"{file} is a WARC file", found="a crawl where a table or text was expected", do=do)
        tables = TableReader(file, self._columns, set_aside)
        if kind == "parquet":
            yield from tables.parquet()
            return
        with OpenedFile(file) as opened:
            self._open = opened
            try:
                if kind == "jsonl":
                    yield from tables.jsonl(opened.stream)
                elif kind == "text":
                    yield _whole_text(opened.stream.read(MAX_RECORD_CHARACTERS + 1), file, inside)
                else:
                    yield from tables.csv(opened.stream, "\t" if kind == "tsv" else ",")
            finally:
                self._open = None


def read_source(path: Path, columns: SourceColumns, quarantine: Tally) -> Iterator[Document]:
    """Yield the documents of a source in order; records that cannot be read go to the quarantine.

    Raises InputError for a missing, empty or unreadable source.
    """
    return iter(SourceReader(path, columns, quarantine))


def check_source(path: Path, columns: SourceColumns, labelled: bool) -> None:
    """Read the first 1,000 records of a source, and for a labelled one all of its labels, before any work starts.

    Raises InputError for a source that is missing, empty or not text, whose columns are not there, of which no record
    can be read, that lacks labels, or that has one class only.
    """
    tally = Tally()
    documents = iter(SourceReader(path, columns, tally))
    if not labelled:
        _check_readable(path, sum(1 for _ in islice(documents, _CHECKED_ROWS)), tally)
        return
    labels = Counter(document.label for document in documents)
    _check_readable(path, labels.total(), tally)
    unlabelled = labels.pop(None, 0)
    if unlabelled and not labels:
        raise no_labels(path, columns, unlabelled)
    check_labels(str(path), Counter({label: count for label, count in labels.items() if label is not None}))


def no_labels(path: Path, columns: SourceColumns, documents: int) -> InputError:
    """Return the error for a source that should be labelled and is not."""
    found = f"{documents} documents, none with a value in column {columns.label!r}"
    do = "set columns.label to the label column's name, or give the 2018 layout: label first"
    return InputError(f"{path} has no labels", found=found, do=do)


def check_labels(where: str, labels: Counter[str]) -> None:
    """Raise InputError when labelled documents are all of one class."""
    if len(labels) < 2:
        found = ", ".join(f"{count} documents of class {label!r}" for label, count in labels.items()) or "no label"
        raise InputError(f"{where} has one class only", found=found, do="give documents of at least two classes")


def _check_readable(path: Path, read: int, tally: Tally) -> None:
    if read:
        return
    if not tally.total:
        raise InputError(f"{path} is empty", found="no record", do="give a source with at least one document")
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(tally.counts.items()))
    do = "check that the file is UTF-8 and of the format that its name says"
    raise InputError(f"no record of {path} can be read", found=f"{reasons}; first: {tally.first}", do=do)


def _whole_text(data: bytes, file: Path, inside: str) -> Record:
    if len(data) > MAX_RECORD_CHARACTERS:
        raise BadRecord("too large", data[:200].decode("utf-8", "replace"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord("broken UTF-8", f"byte {error.start}: {data[error.start : error.start + 20]!r}") from None
    return Record(key="" if inside else file.name, position=file.name, text=join_fields([text]))
