"""Tables as records: CSV of 2018, CSV and TSV with a header, JSON lines, Parquet."""

from __future__ import annotations

import csv
import io
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ulmfit_dist.corpus.formats import CLASSES_NAME
from ulmfit_dist.corpus.records import (
    MAX_RECORD_CHARACTERS,
    BadRecord,
    Record,
    SourceColumns,
    check_unicode,
    read_classes,
)
from ulmfit_dist.errors import InputError
from ulmfit_dist.tokenization.rawtext import join_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PARQUET_BATCH_ROWS = 1024
_INTEGER = re.compile(r"-?\d+")


class TableReader:
    """Reads the rows of one table file as Records; rows that cannot be read go to `set_aside`.

    `set_aside(position, reason, sample)` is called for each.
    Raises InputError when a column that is needed does not exist.
    """

    def __init__(self, path: Path, columns: SourceColumns, set_aside: Callable[[str, str, str], None]) -> None:
        self._path, self._columns, self._set_aside = path, columns, set_aside
        self._classes = read_classes(path)

    def csv(self, stream: BinaryIO, delimiter: str) -> Iterator[Record]:
        """Read CSV (quoted fields may hold new lines); UTF-8 with or without BOM, any line ends."""
        # A field may be as long as a record; the module's default of 131,072 is less than a long article.
        csv.field_size_limit(MAX_RECORD_CHARACTERS)
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        lines = iter(lambda: text.readline(MAX_RECORD_CHARACTERS), "")
        rows = _Rows(csv.reader(lines, delimiter=delimiter, strict=True), self._set_aside)
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

    def jsonl(self, stream: BinaryIO) -> Iterator[Record]:
        """Read one JSON object a line."""
        for number, line in enumerate(_lines(stream), 1):
            if line.strip(b"\xef\xbb\xbf \t\r\n"):
                position = f"line {number}"
                yield from self._one(position, partial(self._object, line, number, position))

    def parquet(self) -> Iterator[Record]:
        """Read a Parquet file, a batch of rows at a time."""
        try:
            with pq.ParquetFile(self._path) as file:
                names = file.schema_arrow.names
                self._require(self._columns.texts, names)
                number = 0
                for batch in file.iter_batches(_PARQUET_BATCH_ROWS, columns=self._wanted(names)):
                    columns = {name: _cells(batch.column(name)) for name in batch.schema.names}
                    for row in range(batch.num_rows):
                        number += 1
                        values = {name: cells[row] for name, cells in columns.items()}
                        position = f"row {number}"
                        yield from self._one(position, partial(self._values, values, number, position))
        except (pa.ArrowException, OSError) as error:
            raise BadRecord("damaged or cut file", str(error).partition("\n")[0]) from error

    def _one(self, position: str, make: Callable[[], Record]) -> Iterator[Record]:
        try:
            record = make()
        except BadRecord as bad:
            self._set_aside(position, bad.reason, bad.sample)
            return
        yield record

    def _header(self, first: list[str]) -> list[str] | None:
        names = [name.strip() for name in first]
        layout = self._columns.layout
        if layout == "named" or (layout == "auto" and all(text in names for text in self._columns.texts)):
            self._require(self._columns.texts, names)
            return names
        if len(first) < 2 or (layout == "auto" and not _INTEGER.fullmatch(first[0].strip())):
            raise InputError(
                f"{self._path} has no column {' or '.join(map(repr, self._columns.texts))}, nor is it the 2018 layout",
                found=f"first row {_shown(first)}",
                do='set columns.text to the name of the text column, or columns.layout = "2018" (label, then text)',
            )
        return None

    def _named(self, header: list[str]) -> Callable[[list[str], int, str], Record]:
        def make(fields: list[str], number: int, position: str) -> Record:
            _check_count(fields, len(header))
            return self._values(dict(zip(header, fields, strict=True)), number, position)

        return make

    def _of_2018(self, count: int) -> Callable[[list[str], int, str], Record]:
        def make(fields: list[str], number: int, position: str) -> Record:
            _check_count(fields, count)
            text = check_unicode(join_fields(fields[1:]))
            return Record(str(number), position, text, self._label_of_2018(check_unicode(fields[0].strip())))

        return make

    def _label_of_2018(self, label: str) -> str | None:
        if self._classes is None or label in self._classes or not label:
            return label or None
        if not label.isdecimal() or int(label) >= len(self._classes):
            raise BadRecord(f"label is not in {CLASSES_NAME}", label)
        return self._classes[int(label)]

    def _object(self, line: bytes, number: int, position: str) -> Record:
        if len(line) > MAX_RECORD_CHARACTERS:
            raise BadRecord("too large", line[:200].decode("utf-8", "replace"))
        try:
            value = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError:
            raise BadRecord("broken UTF-8", line.decode("utf-8", "surrogateescape")) from None
        except (ValueError, RecursionError):
            raise BadRecord("not JSON", line.decode("utf-8", "replace")) from None
        if not isinstance(value, dict):
            raise BadRecord("not a JSON object", line.decode("utf-8", "replace"))
        return self._values(value, number, position)

    def _values(self, values: dict[str, Any], number: int, position: str) -> Record:
        texts = []
        for column in self._columns.texts:
            text = values.get(column)
            if isinstance(text, bytes):
                raise BadRecord("broken UTF-8", text.decode("utf-8", "surrogateescape"))
            if not isinstance(text, str):
                raise BadRecord(f"no text in column {column!r}", str(text))
            texts.append(text)
        label, key, url, date = (_plain(values.get(name)) for name in self._others())
        return Record(key or str(number), position, check_unicode(join_fields(texts)), label or None, url, date)

    def _others(self) -> tuple[str, str, str, str]:
        return self._columns.label, self._columns.id, self._columns.url, self._columns.date

    def _wanted(self, names: list[str]) -> list[str]:
        wanted = {*self._columns.texts, *self._others()}
        return [name for name in names if name in wanted]

    def _require(self, wanted: list[str], names: list[str]) -> None:
        missing = [name for name in wanted if name not in names]
        if missing:
            what = f"{self._path} has no column {', '.join(map(repr, missing))}"
            raise InputError(what, found=f"columns {_shown(names)}", do="set columns.text to the text column's name")


class _Rows:
    """CSV rows with their line; broken ones are set aside and reading goes on with the next line."""

    def __init__(self, reader: Any, set_aside: Callable[[str, str, str], None]) -> None:
        self._reader, self._set_aside = reader, set_aside

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        return self

    def __next__(self) -> tuple[str, list[str]]:
        while True:
            try:
                row = next(self._reader)
            except csv.Error as error:
                self._set_aside(f"line {self._reader.line_num}", f"not CSV: {error}", "")
                continue
            if row:
                return f"line {self._reader.line_num}", row


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines of bytes; of one over MAX_RECORD_CHARACTERS only the start is given, the rest is passed over."""
    while line := stream.readline(MAX_RECORD_CHARACTERS + 1):
        rest = line
        while len(rest) > MAX_RECORD_CHARACTERS and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_RECORD_CHARACTERS + 1)
        yield line


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
