"""Lines of a file or of a range of it: numbered from the file's beginning, each belonging to exactly one range.

A line belongs to the range in which it begins, one that begins where a range ends to that range: so a range passes
over all up to its first new line, and no reader has to look at what is before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ulmfit_dist.corpus.compression import DAMAGED_STREAM
from ulmfit_dist.corpus.records import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from ulmfit_dist.corpus.compression import OpenedFile

BOM = b"\xef\xbb\xbf"
_BLOCK = 1 << 20


class Line(NamedTuple):
    """A line with its end. `number`: in the file, from 1; `within`: whether it belongs to the range.

    Of one over MAX_RECORD_BYTES only the start is given, a byte longer than that.
    """

    number: int
    data: bytes
    within: bool


class Body:
    """The lines of one record; of one over MAX_RECORD_BYTES no more than is needed to know it. `size`: all of them."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self.size = 0

    def add(self, line: bytes) -> None:
        """Append a line with its end."""
        self.size += len(line)
        if self.size <= MAX_RECORD_BYTES:
            self._lines.append(line)

    def text(self) -> bytes:
        """Return the lines joined."""
        return b"".join(self._lines)


def numbered_lines(file: OpenedFile, before: int) -> Iterator[Line]:
    """Yield the lines of a range and those after it, for a reader whose record goes on; `before`: lines before it."""
    number, position = before, 0
    if file.start:
        _, position = _read_line(file.stream)
        number += 1
    while True:
        # A line that begins beyond the range's end has had that end read before it: then it is known.
        within = file.boundary is None or position <= file.boundary
        data, length = _read_line(file.stream)
        if not data:
            return
        position += length
        number += 1
        yield Line(number, data, within)


def count_lines(file: OpenedFile) -> int:
    """Return the number of line ends in a range; of a cut or damaged file those that can be read."""
    count = 0
    try:
        for block in file.blocks():
            count += block.count(b"\n")
    except DAMAGED_STREAM:
        # The reading of the range meets the same damage at the same place and reports it.
        return count
    return count


def _read_line(stream: BinaryIO) -> tuple[bytes, int]:
    """The next line, cut to a byte over MAX_RECORD_BYTES, and its whole length."""
    line = stream.readline(MAX_RECORD_BYTES + 1)
    length = len(line)
    part = line
    while len(part) and not part.endswith(b"\n") and length > MAX_RECORD_BYTES:
        part = stream.readline(_BLOCK)
        length += len(part)
    return line, length
