"""Pages of an ARC file, the format before WARC: a line `URL IP date type length`, then an HTTP response so long."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from ulmfit_dist.corpus.compression import DAMAGED_STREAM, OpenedFile
from ulmfit_dist.crawl.warc import MAX_RECORD_BYTES, Page, response_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ulmfit_dist.corpus.quarantine import Tally

_MAX_HEADER_BYTES = 1 << 16
_BLOCK = 1 << 20
_DATE_DIGITS = 14


class _Header(NamedTuple):
    """The line before a record."""

    url: str
    date: str
    length: int


class ArcReader:
    """Reads the pages of an ARC file, compressed or not; iterate once. `skipped`, `bytes_read`: as WarcReader's.

    After a line that is no record's, reading goes on at the next that is; what follows damaged compression is lost, and
    counted so.
    """

    def __init__(self, path: Path, quarantine: Tally, name: str = "") -> None:
        self._path, self._quarantine = path, quarantine
        self.name = name or path.name
        self.skipped: Counter[str] = Counter()
        self.bytes_read = 0

    def __iter__(self) -> Iterator[Page]:
        size = self._path.stat().st_size
        with OpenedFile(self._path) as opened:
            try:
                for page in self._pages(cast("BinaryIO", opened.stream)):
                    self.bytes_read = opened.bytes_read
                    yield page
            except DAMAGED_STREAM as error:
                self._quarantine.lose(self.name, size - opened.bytes_read)
                found = str(error) or type(error).__name__
                self._quarantine.add(self.name, f"byte {opened.bytes_read}", "cut file", found)
        self.bytes_read = size

    def _pages(self, stream: BinaryIO) -> Iterator[Page]:
        position = 0
        reported = False
        while line := stream.readline(_MAX_HEADER_BYTES):
            start, position = position, position + len(line)
            header = _header(line)
            if header is None:
                if line.strip() and not reported:
                    sample = line[:200].decode("utf-8", "replace")
                    self._quarantine.add(self.name, f"byte {start} of the unpacked file", "damaged record", sample)
                    reported = True
                continue
            reported = False
            block = stream.read(min(header.length, MAX_RECORD_BYTES + 1))
            passed = len(block) + _pass_over(stream, header.length - len(block))
            position += passed
            if passed < header.length:
                msg = f"{passed} of {header.length} bytes of its last record"
                raise EOFError(msg)
            if not header.url.startswith(("http://", "https://")):
                self.skipped["filedesc" if header.url.startswith("filedesc:") else "response"] += 1
                continue
            page = response_page((f"byte {start}", header.url, header.date), block)
            if isinstance(page, str):
                self.skipped[page] += 1
            else:
                yield page


def _header(line: bytes) -> _Header | None:
    """A record's line: of version 1 five fields, of version 2 ten, the length last in both."""
    fields = line.decode("utf-8", "replace").split()
    if len(fields) not in (5, 10) or ":" not in fields[0] or not (fields[2] + fields[-1]).isdecimal():
        return None
    digits = fields[2]
    whole = len(digits) == _DATE_DIGITS
    date = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10]}:{digits[10:12]}:{digits[12:]}Z" if whole else ""
    return _Header(fields[0], date, int(fields[-1]))


def _pass_over(stream: BinaryIO, count: int) -> int:
    passed = 0
    while passed < count and (block := stream.read(min(_BLOCK, count - passed))):
        passed += len(block)
    return passed
