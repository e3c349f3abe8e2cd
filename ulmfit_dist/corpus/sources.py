"""Sources: raw files become documents, before any rule of the crawl looks at them.

A source is one file (CSV of 2018, CSV, TSV, JSON lines, Parquet, wikiextractor's files, Wikipedia's XML and Cirrus
dumps, plain text: one document a file, or several with a separator; each may be compressed), a folder of such files, or
a folder of class-named folders of text files; a local path or a URL. Web pages (CRAWL_FORMATS) are read by
crawl/pagefiles.py. A record that cannot be read is set aside; a source that cannot be read at all is an InputError.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ulmfit_dist.corpus.compression import DAMAGED_STREAM, OpenedFile
from ulmfit_dist.corpus.documents import Document, document_id
from ulmfit_dist.corpus.formats import CRAWL_FORMATS, Format, detect_format, source_files
from ulmfit_dist.corpus.locations import size_of
from ulmfit_dist.corpus.mediawiki import MediaWikiReader
from ulmfit_dist.corpus.parted import PartedReader
from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.corpus.records import MAX_RECORD_BYTES, BadRecord, Record, SourceColumns, check_text
from ulmfit_dist.corpus.tables import TableReader
from ulmfit_dist.corpus.wiki import WikiReader
from ulmfit_dist.errors import InputError
from ulmfit_dist.tokenization.rawtext import join_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ulmfit_dist.corpus.locations import Location

__all__ = [
    "SourceColumns",
    "SourceReader",
    "Span",
    "check_labels",
    "check_source",
    "no_labels",
    "read_source",
    "source_spans",
]

_CHECKED_ROWS = 1000


@dataclass(frozen=True)
class Span:
    """A file of a source, or a range of one. `size`: its bytes on disk.

    `inside`: the file's place in a folder source, which opens its records' keys; "" for a source that is one file.
    `kind`: None for a file of a folder, which is looked at when it is read ("crawl" in a crawl).
    `label`: of a class-named folder.
    `start`, `stop`: bytes (of Parquet: row groups; `stop` not included, None for the end); `before`: lines (rows)
    before `start`.
    """

    file: Location
    size: int
    inside: str = ""
    kind: Format | None = None
    label: str | None = None
    start: int = 0
    stop: int | None = None
    before: int = 0


def source_spans(location: Location, columns: SourceColumns) -> list[Span]:
    """Return the files of a source in order, whole. Raises InputError as `detect_format` does."""
    kind = detect_format(location, columns.texts)
    try:
        return _spans(location, kind)
    except OSError as error:
        do = "check that the files stay where they are while they are read, and the connection"
        raise InputError(f"cannot read {location}", found=str(error), do=do) from error


class SourceReader:
    """Reads one span of a source as documents; iterate once. `name` stands for the source in ids and the quarantine.

    `bytes_read` says how far the reading is, in bytes on disk. Raises InputError for a source of one file that cannot
    be read at all. A document's `source` is "name#key", its id the hash of the two.
    """

    def __init__(self, span: Span, name: str, columns: SourceColumns, quarantine: Tally) -> None:
        self._span, self.name, self._columns, self._quarantine = span, name, columns, quarantine
        self._open: OpenedFile | None = None
        self._finished = False

    @property
    def bytes_read(self) -> int:
        """Bytes of the span read so far."""
        return self._span.size if self._finished else self._open.bytes_read if self._open else 0

    def __iter__(self) -> Iterator[Document]:
        span, place = self._span, self._span.inside or self._span.file.name
        try:
            for record in self._records():
                key = ":".join(part for part in (span.inside, record.key) if part)
                yield Document(
                    id=document_id(self.name, key),
                    text=record.text,
                    url=record.url,
                    date=record.date,
                    source=f"{self.name}#{key}",
                    label=span.label or record.label,
                    fold=record.fold,
                )
        except BadRecord as bad:
            self._quarantine.add(self.name, place, bad.reason, bad.sample)
        except DAMAGED_STREAM as error:
            # What comes after the damage is lost, however much it is; what was read before it stays.
            read = self.bytes_read
            self._quarantine.lose(self.name, span.size - read)
            self._quarantine.add(
                self.name, f"{place}, byte {span.start + read}", "damaged or cut file", str(error) or repr(error)
            )
        except InputError as error:
            if not span.inside:
                raise
            # One empty or foreign file does not condemn a folder of thousands.
            self._quarantine.lose(self.name, span.size)
            self._quarantine.add(self.name, span.inside, "unreadable file", error.found)
        self._finished = True

    def _records(self) -> Iterator[Record]:
        span = self._span
        prefix = f"{span.inside}, " if span.inside else ""

        def set_aside(position: str, reason: str, sample: str) -> None:
            self._quarantine.add(self.name, prefix + position, reason, sample)

        kind = span.kind or detect_format(span.file, self._columns.texts)
        if kind in CRAWL_FORMATS:
            do, found = "give crawl files as sources of their own", "a crawl where a table or text was expected"
            raise InputError(f"{span.file} holds web pages ({kind})", found=found, do=do)
        tables = TableReader(span.file, self._columns, set_aside)
        if kind == "parquet":
            yield from tables.parquet(span.start, span.stop, span.before)
            return
        with OpenedFile(span.file, span.start, span.stop) as opened:
            self._open = opened
            if kind == "jsonl":
                yield from tables.jsonl(opened, span.before)
            elif kind == "wiki":
                yield from WikiReader(opened, span.before, set_aside)
            elif kind == "mediawiki":
                yield from MediaWikiReader(opened, set_aside)
            elif kind == "text" and self._columns.separator:
                yield from PartedReader(opened, span.before, self._columns.separator, set_aside)
            elif kind == "text":
                yield _whole_text(opened.stream.read(MAX_RECORD_BYTES + 1), span)
            else:
                yield from tables.csv(opened.stream, "\t" if kind == "tsv" else ",")


def read_source(location: Location, columns: SourceColumns, quarantine: Tally) -> Iterator[Document]:
    """Yield the documents of a whole source in order; records that cannot be read go to the quarantine.

    Raises InputError for a source that cannot be read at all.
    """
    for span in source_spans(location, columns):
        yield from SourceReader(span, location.name, columns, quarantine)


def check_source(location: Location, columns: SourceColumns, labelled: bool) -> None:
    """Read the first 1,000 records of a source, and for a labelled one all of its labels, before any work starts.

    Raises InputError for a source that is missing, empty or not text, whose columns are not there, of which no record
    can be read, that lacks labels, or that has one class only.
    """
    tally = Tally()
    documents = read_source(location, columns, tally)
    if not labelled:
        _check_readable(location, sum(1 for _ in islice(documents, _CHECKED_ROWS)), tally)
        return
    labels = Counter(document.label for document in documents)
    _check_readable(location, labels.total(), tally)
    unlabelled = labels.pop(None, 0)
    if unlabelled and not labels:
        raise no_labels(location, columns, unlabelled)
    check_labels(str(location), Counter({label: count for label, count in labels.items() if label is not None}))


def no_labels(location: Location, columns: SourceColumns, documents: int) -> InputError:
    """Return the error for a source that should be labelled and is not."""
    names = ", ".join(map(repr, columns.label_names))
    found = f"{documents} documents, none with a value in column {names}"
    do = "set columns.label to the label column's name, or give the 2018 layout: label first"
    return InputError(f"{location} has no labels", found=found, do=do)


def check_labels(where: str, labels: Counter[str]) -> None:
    """Raise InputError when labelled documents are all of one class."""
    if len(labels) < 2:
        found = ", ".join(f"{count} documents of class {label!r}" for label, count in labels.items()) or "no label"
        raise InputError(f"{where} has one class only", found=found, do="give documents of at least two classes")


def _check_readable(location: Location, read: int, tally: Tally) -> None:
    if read:
        return
    if not tally.total:
        raise InputError(f"{location} is empty", found="no record", do="give a source with at least one document")
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(tally.counts.items()))
    do = "check that the file is UTF-8 and of the format that its name says"
    if "too large" in tally.counts:
        do = "say which lines part its documents (columns.separator), or give them as JSON lines"
    raise InputError(f"no record of {location} can be read", found=f"{reasons}; first: {tally.first}", do=do)


def _spans(location: Location, kind: Format) -> list[Span]:
    if kind not in ("classes", "folder", "crawl"):
        return [Span(location, size_of(location), kind=kind)]
    if kind in ("folder", "crawl"):
        known: Format | None = "crawl" if kind == "crawl" else None
        return [Span(file, size_of(file), inside, known) for inside, file in source_files(location)]
    files = source_files(location)
    return [Span(file, size_of(file), inside, "text", inside.partition("/")[0]) for inside, file in files]


def _whole_text(data: bytes, span: Span) -> Record:
    if len(data) > MAX_RECORD_BYTES:
        raise BadRecord("too large", data[:200].decode("utf-8", "replace"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord("broken UTF-8", f"byte {error.start}: {data[error.start : error.start + 20]!r}") from None
    name = span.file.name
    return Record(key="" if span.inside else name, position=name, text=check_text(join_fields([text])))
