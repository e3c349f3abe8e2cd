"""Tables as records: CSV of 2018, CSV and TSV with a header, JSON lines, Parquet."""

from __future__ import annotations

import json
import re
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ulmfit_dist.corpus.csvrows import CsvRows
from ulmfit_dist.corpus.fields import DEFAULT_TEXT, field, is_index_line, known_fields
from ulmfit_dist.corpus.formats import CLASSES_NAME
from ulmfit_dist.corpus.lines import numbered_lines
from ulmfit_dist.corpus.locations import seekable
from ulmfit_dist.corpus.records import (
    MAX_RECORD_BYTES,
    BadRecord,
    Record,
    SourceColumns,
    check_text,
    check_unicode,
    join_labels,
    read_classes,
)
from ulmfit_dist.errors import InputError
from ulmfit_dist.tokenization.rawtext import join_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ulmfit_dist.corpus.compression import OpenedFile
    from ulmfit_dist.corpus.locations import Location

_PARQUET_BATCH_ROWS = 1024
# Without a buffer Arrow holds whole column chunks: as much as the writer put into a row group.
_PARQUET_BUFFER = 1 << 22
_INTEGER = re.compile(r"-?\d+")


class TableReader:
    """Reads the rows of one table file as Records; rows that cannot be read go to `set_aside`.

    `set_aside(position, reason, sample)` is called for each.
    Raises InputError when a column that is needed does not exist.
    """

    def __init__(self, location: Location, columns: SourceColumns, set_aside: Callable[[str, str, str], None]) -> None:
        self._location, self._columns, self._set_aside = location, columns, set_aside

    def csv(self, stream: BinaryIO, delimiter: str) -> Iterator[Record]:
        """Read CSV (quoted fields may hold new lines); UTF-8 with or without BOM, any line ends."""
        rows = CsvRows(stream, delimiter, self._set_aside)
        first = next(rows, None)
        if first is None:
            return
        header = self._header(first[1])
        make = self._named(header) if header is not None else self._of_2018(len(first[1]))
        start = () if header is not None else (first,)
        number = 0
        for source in (start, rows):
            for position, fields in source:
                number += 1
                yield from self._one(position, partial(make, fields, number, position))

    def jsonl(self, file: OpenedFile, before: int) -> Iterator[Record]:
        """Read one JSON object a line, those of the file's range; `before`: lines before it."""
        for line in takewhile(lambda line: line.within, numbered_lines(file, before)):
            if line.data.strip(b"\xef\xbb\xbf \t\r\n"):
                position = f"line {line.number}"
                yield from self._one(position, partial(self._object, line.data, line.number, position))

    def parquet(self, first_group: int, last_group: int | None, before: int) -> Iterator[Record]:
        """Read the row groups from the first up to the last (not included), a batch of rows at a time."""
        try:
            with seekable(self._location) as source, pq.ParquetFile(source, buffer_size=_PARQUET_BUFFER) as file:
                names = file.schema_arrow.names
                self._require([text if text in names else text.partition(".")[0] for text in self._needed()], names)
                groups = range(file.num_row_groups)[first_group:last_group]
                number = before
                wanted = self._wanted(names)
                for batch in file.iter_batches(_PARQUET_BATCH_ROWS, row_groups=groups, columns=wanted):
                    columns = {name: _cells(batch.column(name)) for name in batch.schema.names}
                    for row in range(batch.num_rows):
                        number += 1
                        values = {name: cells[row] for name, cells in columns.items()}
                        position = f"row {number}"
                        yield from self._one(position, partial(self._values, values, number, position))
        except (pa.ArrowException, OSError) as error:
            raise BadRecord("damaged or cut file", str(error).partition("\n")[0]) from error

    def _one(self, position: str, make: Callable[[], Record | None]) -> Iterator[Record]:
        try:
            record = make()
        except BadRecord as bad:
            self._set_aside(position, bad.reason, bad.sample)
            return
        if record is not None:
            yield record

    def _header(self, first: list[str]) -> list[str] | None:
        names = [name.strip() for name in first]
        layout = self._columns.layout
        if layout == "named" or (layout == "auto" and all(text in names for text in self._columns.texts)):
            self._require(self._needed(), names)
            return names
        labels = len(self._columns.label_names)
        if len(first) <= labels or (layout == "auto" and not _INTEGER.fullmatch(first[0].strip())):
            wanted = " or ".join(map(repr, self._columns.texts))
            raise InputError(
                f"{self._location} has no column {wanted}, nor is it the 2018 layout",
                found=f"first row {_shown(first)}",
                do='set columns.text to the name of the text column, or columns.layout = "2018" (label, then text)',
            )
        if self._columns.fold:
            found = "the 2018 layout, which names no columns"
            do = "give the folds as task.fold_file, one a line"
            raise InputError(f"{self._location} has no column {self._columns.fold!r}", found=found, do=do)
        return None

    def _named(self, header: list[str]) -> Callable[[list[str], int, str], Record]:
        def make(fields: list[str], number: int, position: str) -> Record:
            _check_count(fields, len(header))
            return self._values(dict(zip(header, fields, strict=True)), number, position)

        return make

    def _of_2018(self, count: int) -> Callable[[list[str], int, str], Record]:
        labels = len(self._columns.label_names)
        classes = read_classes(self._location) if labels == 1 else None

        def make(fields: list[str], number: int, position: str) -> Record:
            _check_count(fields, count)
            text = check_text(join_fields(fields[labels:]))
            label = join_labels([check_unicode(field.strip()) for field in fields[:labels]])
            return Record(str(number), position, text, _class_name(label, classes))

        return make

    def _object(self, line: bytes, number: int, position: str) -> Record | None:
        if len(line) > MAX_RECORD_BYTES:
            raise BadRecord("too large", line[:200].decode("utf-8", "replace"))
        try:
            value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError:
            raise BadRecord("broken UTF-8", line.decode("utf-8", "surrogateescape")) from None
        except (ValueError, RecursionError):
            raise BadRecord("not JSON", line.decode("utf-8", "replace")) from None
        if not isinstance(value, dict):
            raise BadRecord("not a JSON object", line.decode("utf-8", "replace"))
        return None if is_index_line(value) else self._values(value, number, position)

    def _values(self, values: dict[str, Any], number: int, position: str) -> Record:
        texts = []
        known = known_fields(values) if self._columns.texts == [DEFAULT_TEXT] else {}
        for column in self._columns.texts:
            text = field(values, known["text"] if known and column not in values else column)
            if isinstance(text, bytes):
                raise BadRecord("broken UTF-8", text.decode("utf-8", "surrogateescape"))
            if not isinstance(text, str):
                raise BadRecord(f"no text in column {column!r}", str(text))
            texts.append(text)
        label = join_labels([_plain(field(values, name)) for name in self._columns.label_names])
        columns = {"id": self._columns.id, "url": self._columns.url, "date": self._columns.date}
        key, url, date = (
            _plain(field(values, name)) or _plain(field(values, known.get(what, ""))) for what, name in columns.items()
        )
        fold = _plain(field(values, self._columns.fold)) if self._columns.fold else ""
        return Record(key or str(number), position, check_text(join_fields(texts)), label, url, date, fold)

    def _needed(self) -> list[str]:
        return [*self._columns.texts, *filter(None, [self._columns.fold])]

    def _wanted(self, names: list[str]) -> list[str]:
        columns = self._columns
        named = [*self._needed(), *columns.label_names, columns.id, columns.url, columns.date]
        wanted = {name if name in names else name.partition(".")[0] for name in named}
        return [name for name in names if name in wanted]

    def _require(self, wanted: list[str], names: list[str]) -> None:
        missing = [name for name in wanted if name not in names]
        if missing:
            what = f"{self._location} has no column {', '.join(map(repr, missing))}"
            do = "set columns.text to the text column's name"
            if missing == [self._columns.fold]:
                do = "set columns.fold to the name of the column with the folds"
            raise InputError(what, found=f"columns {_shown(names)}", do=do)


def _class_name(label: str | None, classes: list[str] | None) -> str | None:
    """The name of a class given by its number in classes.txt, or by its name."""
    if classes is None or label is None or label in classes:
        return label
    if not label.isdecimal() or int(label) >= len(classes):
        raise BadRecord(f"label is not in {CLASSES_NAME}", label)
    return classes[int(label)]


def _cells(column: pa.Array) -> list[Any]:
    """Values of a Parquet column; a string that is not UTF-8 comes as bytes."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return list(column.to_pylist())
    return [_decoded(value) for value in column.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _plain(value: Any) -> str:
    """A label, key, url or date as text: numbers and truth values by str, anything else that is not text is none."""
    if isinstance(value, str):
        return check_unicode(value.strip())
    return str(value) if isinstance(value, int | float) else ""


def _check_count(fields: list[str], expected: int) -> None:
    if len(fields) != expected:
        raise BadRecord("wrong number of columns", f"{len(fields)} for {expected}: {','.join(fields)}")


def _shown(fields: list[str]) -> str:
    return ascii([field[:30] for field in fields[:8]])
