"""Pages of a WARC or WET file, one record at a time; a cut or damaged file gives what is whole in it, and says so."""

from __future__ import annotations

import mmap
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from ulmfit_dist.corpus.compression import GZIP_MAGIC

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ulmfit_dist.corpus.quarantine import Tally

# A page is text: what is larger is an archive, a film or a bomb. 1 GB of zeros in 4 MB of gzip is refused in 0.3 s.
MAX_RECORD_BYTES = 10_000_000
MAX_INFLATED_BYTES = 20_000_000
_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml", "text/plain"})
_TEXT_RECORDS = (WarcRecordType.response, WarcRecordType.resource, WarcRecordType.conversion)
_GZIP_WINDOW = 31
_BLOCK = 1 << 16
_MEMBER = GZIP_MAGIC + b"\x08"
_NEXT_PLAIN = b"\r\n\r\nWARC/"


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it was fetched. `key`: WARC-Record-ID, else its offset; `flaw`: "" or "too_large" (no body then)."""

    key: str
    url: str
    date: str
    is_html: bool
    charset: str | None
    body: bytes
    flaw: str = ""


class WarcReader:
    """Reads the pages of a WARC (gzip a record, or plain) or WET file; iterate once.

    Pages: HTTP responses of status 200 with HTML or plain text, resources, and the text records of WET. Every other
    record is counted in `skipped` by the reason. A file that is cut or damaged is named in the quarantine, and reading
    goes on at the next whole record. `bytes_read`: position in the file as it lies on disk.
    """

    def __init__(self, path: Path, quarantine: Tally, name: str = "") -> None:
        self._path, self._quarantine = path, quarantine
        self.name = name or path.name
        self.skipped: Counter[str] = Counter()
        self.bytes_read = 0
        self._cut = False

    def __iter__(self) -> Iterator[Page]:
        with self._path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start: int | None = 0
            while start is not None:
                file.seek(start)
                try:
                    yield from self._pages(file)
                except (OSError, ValueError, RuntimeError) as error:
                    start = self._go_on(data, start, str(error))
                else:
                    start = None
            if not self._cut and not _ends_whole(data, self.bytes_read):
                self._set_cut("its last record has no end")
        self.bytes_read = self._path.stat().st_size

    def _pages(self, file: BinaryIO) -> Iterator[Page]:
        for record in ArchiveIterator(file, parse_http=False):
            self.bytes_read = record.stream_pos
            kind, length, offset = record.record_type, record.content_length, record.stream_pos
            if not (record.headers.get("Content-Length") or "").isdecimal():
                msg = "a record header without its length"
                raise ValueError(msg)
            if kind not in _TEXT_RECORDS or not _web_url(record):
                self.skipped[str(kind)] += 1
                continue
            block = record.reader.read(MAX_RECORD_BYTES + 1)
            if len(block) < min(length, MAX_RECORD_BYTES + 1):
                self._set_cut(f"{len(block)} of {length} bytes of its last record")
                return
            page = _page(record, block, offset)
            if isinstance(page, str):
                self.skipped[page] += 1
            else:
                yield page

    def _set_cut(self, found: str) -> None:
        self._cut = True
        self._quarantine.add(self.name, f"byte {self.bytes_read}", "cut file", found)

    def _go_on(self, data: mmap.mmap, start: int, error: str) -> int | None:
        """Where the next record after damage opens; one quarantine record for each damaged stretch."""
        reached = max(self.bytes_read, start)
        following = _next_record(data, reached + 1)
        if start == 0 or reached > start:
            resumed = "nothing whole follows" if following is None else f"goes on at byte {following}"
            self._quarantine.add(self.name, f"byte {reached}", "damaged record", f"{error}; {resumed}")
        self._cut = self._cut or following is None
        return following


def _web_url(record: WarcRecord) -> str:
    # wget writes <https://...>, against the standard.
    url = (record.headers.get("WARC-Target-URI") or "").strip("<> ")
    return url if url.startswith(("http://", "https://")) else ""


def _page(record: WarcRecord, block: bytes, offset: int) -> Page | str:
    """The page in a record's block, or the reason why there is none."""
    key = (record.headers.get("WARC-Record-ID") or "").strip("<> ") or f"byte {offset}"
    origin = key, _web_url(record), _date(record)
    too_large = len(block) > MAX_RECORD_BYTES
    if not record.is_http:
        mime = (record.headers.get("Content-Type") or "text/plain").partition(";")[0].strip().lower()
        body, charset = block, None
    else:
        response = _parsed(block)
        if response is None:
            return "broken HTTP"
        if response.http_headers.status_code != 200:
            return "status"
        mime, charset = (response.http_content_type or "text/html").lower(), response.http_charset
        body = b"" if too_large else response.reader.read(MAX_INFLATED_BYTES + 1)
        too_large = too_large or len(body) > MAX_INFLATED_BYTES
    if mime not in _PAGE_TYPES:
        return "media type"
    flaw, kept = ("too_large", b"") if too_large else ("", body)
    return Page(*origin, is_html=mime != "text/plain", charset=charset, body=kept, flaw=flaw)


def _parsed(block: bytes) -> WarcRecord | None:
    """The HTTP response in a block, its transfer and content encodings undone; None when it is not HTTP."""
    response = WarcRecord()
    response.init_headers(record_type=WarcRecordType.response, content_length=len(block))
    response.set_bytes_content(block)
    response.is_http = True
    try:
        response.parse_http(auto_decode="all")
    except (OSError, ValueError, RuntimeError):
        return None
    return response if response.is_http_parsed else None


def _date(record: WarcRecord) -> str:
    return (record.headers.get("WARC-Date") or "").strip()


def _next_record(data: mmap.mmap, start: int) -> int | None:
    """The next offset from `start` where a gzip member or plain record opens with WARC/."""
    if data[:2] != GZIP_MAGIC:
        found = data.find(_NEXT_PLAIN, start)
        return found + 4 if found >= 0 else None
    position = data.find(_MEMBER, start)
    while position >= 0:
        if _opens_record(data[position : position + 512]):
            return position
        position = data.find(_MEMBER, position + 1)
    return None


def _opens_record(head: bytes) -> bool:
    try:
        return zlib.decompressobj(_GZIP_WINDOW).decompress(head, 5) == b"WARC/"
    except zlib.error:
        return False


def _ends_whole(data: mmap.mmap, start: int) -> bool:
    """Whether a file ends where a record does; fastwarc passes over most cuts in silence.

    Gzip members, from the last record's at `start`, must end with their trailer, a plain file with two line ends.
    """
    if data[:2] != GZIP_MAGIC:
        return data[-4:] == b"\r\n\r\n" or data[-2:] == b"\n\n"
    member = zlib.decompressobj(_GZIP_WINDOW)
    position = start
    while position < len(data):
        block = data[position : position + _BLOCK]
        position += len(block)
        while block:
            if member.eof:
                member = zlib.decompressobj(_GZIP_WINDOW)
            try:
                member.decompress(block)
            except zlib.error:
                return False
            block = member.unused_data
    return member.eof
