"""Rows of CSV by Python's csv module, which alone would lose all that an unclosed quote swallows."""

from __future__ import annotations

import csv
import io
from collections import deque
from typing import TYPE_CHECKING, BinaryIO

from ulmfit_dist.corpus.records import MAX_RECORD_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class CsvRows:
    """Iterates over (position, fields); the position is the line on which the row begins.

    A row that is not CSV, or too large, goes to `set_aside(position, reason, sample)` and costs its first line alone:
    reading goes on with the line after it. Broken UTF-8 comes as surrogates.
    """

    def __init__(self, stream: BinaryIO, delimiter: str, set_aside: Callable[[str, str, str], None]) -> None:
        # A field may be as long as a record; the module's default of 131,072 is less than a long article.
        csv.field_size_limit(MAX_RECORD_CHARACTERS)
        self._text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self._lines = _Lines(self._text)
        self._rows = csv.reader(self._lines, delimiter=delimiter, strict=True)
        self._set_aside = set_aside

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        return self

    def __next__(self) -> tuple[str, list[str]]:
        while True:
            self._lines.begin_row()
            position, reason = f"line {self._lines.number + 1}", ""
            try:
                row = next(self._rows)
            except csv.Error as error:
                # Its only error for size; the others name a character that is out of place.
                reason = "too large" if str(error).startswith("field larger") else f"not CSV: {error}"
            if self._lines.cut:
                reason = "too large"
            if reason:
                self._set_aside(position, reason, self._lines.give_back())
            elif row:
                return position, row


class _Lines:
    """The lines that csv reads, those of the present row kept so that they can be read again.

    `number`: lines read so far; `cut`: whether one of the row's was over MAX_RECORD_CHARACTERS, and came cut.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._row: list[tuple[str, bool]] = []
        self._again: deque[tuple[str, bool]] = deque()
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, cut = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self._row.append((line, cut))
        self.number += 1
        return line

    @property
    def cut(self) -> bool:
        return any(cut for _, cut in self._row)

    def begin_row(self) -> None:
        self._row.clear()

    def give_back(self) -> str:
        """Let all lines of the row but the first be read again; returns the first."""
        (first, _), *others = self._row
        self._again.extendleft(reversed(others))
        self.number -= len(others)
        self._row.clear()
        return first

    def _read(self) -> tuple[str, bool]:
        line = self._text.readline(MAX_RECORD_CHARACTERS + 1)
        cut = len(line) > MAX_RECORD_CHARACTERS and not line.endswith(("\n", "\r"))
        rest = line if cut else ""
        while rest and not rest.endswith(("\n", "\r")):
            rest = self._text.readline(MAX_RECORD_CHARACTERS)
        return line, cut
