"""Pages of a WARC or WET file, one record at a time; a cut or damaged file gives what is whole in it, and says so."""

from __future__ import annotations

import mmap
import tempfile
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from ulmfit_dist.corpus.compression import BZ2_MAGIC, DAMAGED_STREAM, GZIP_MAGIC, XZ_MAGIC, ZSTD_MAGIC, OpenedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ulmfit_dist.corpus.quarantine import Tally

# A page is text: what is larger is an archive, a film or a bomb. 1 GB of zeros in 4 MB of gzip is refused in 0.3 s.
MAX_RECORD_BYTES = 10_000_000
MAX_INFLATED_BYTES = 20_000_000
_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml", "text/plain"})
_TEXT_RECORDS = (WarcRecordType.response, WarcRecordType.resource, WarcRecordType.conversion)
_GZIP_WINDOW = 31
# HTML packs some 5 to 20 times; what packs more is a bomb, and would fill the disk.
_MAX_RATIO = 200
_BLOCK = 1 << 16
_MEMBER = GZIP_MAGIC + b"\x08"
_NEXT_PLAIN = b"\r\n\r\nWARC/"


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it was fetched. `key`: WARC-Record-ID, else its offset; `flaw`: "" or "too_large" (no body then).

    `robots`: what its X-Robots-Tag headers say, joined by commas.
    """

    key: str
    url: str
    date: str
    is_html: bool
    charset: str | None
    body: bytes
    flaw: str = ""
    robots: str = ""


class WarcReader:
    """Reads the pages of a WARC (gzip a record, plain, or bzip2, xz or zstd) or WET file; iterate once.

    Pages: HTTP responses of status 200 with HTML or plain text, resources, and the text records of WET. Every other
    record is counted in `skipped` by the reason. A file that is cut or damaged is named in the quarantine, and reading
    goes on at the next whole record (not in bzip2, xz and zstd, whose rest is lost and counted so).
    """

    def __init__(self, path: Path, quarantine: Tally, name: str = "") -> None:
        self._path, self._quarantine = path, quarantine
        self.name = name or path.name
        self.skipped: Counter[str] = Counter()
        self._position, self._size = 0, path.stat().st_size
        self._cut = False

    def __iter__(self) -> Iterator[Page]:
        with self._path.open("rb") as file:
            packed = file.read(6).startswith((BZ2_MAGIC, XZ_MAGIC, ZSTD_MAGIC))
        if packed:
            # fastwarc reads gzip alone, and what it can seek in.
            with tempfile.TemporaryDirectory(prefix="ulmfit-warc-") as folder:
                yield from self._mapped(self._unpacked(Path(folder)))
        else:
            yield from self._mapped(self._path)
        self._position = self._size

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far; of an unpacked one the bytes of that, as far as the file is long."""
        return min(self._position, self._size)

    def _unpacked(self, folder: Path) -> Path:
        plain = folder / "unpacked.warc"
        written = 0
        with OpenedFile(self._path) as opened, plain.open("wb") as target:
            try:
                for block in opened.blocks():
                    written += target.write(block)
                    if written > _MAX_RATIO * self._size + MAX_INFLATED_BYTES:
                        raise OSError(f"it unpacks to more than {_MAX_RATIO} times its size")
            except DAMAGED_STREAM as error:
                self._position = opened.bytes_read
                self._quarantine.lose(self.name, self._size - self.bytes_read)
                self._set_cut(str(error) or type(error).__name__)
        return plain

    def _mapped(self, path: Path) -> Iterator[Page]:
        self._position = 0
        if not path.stat().st_size:
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start: int | None = 0
            while start is not None:
                file.seek(start)
                try:
                    yield from self._pages(file)
                except (OSError, ValueError, RuntimeError) as error:
                    start = self._go_on(data, start, str(error))
                else:
                    start = None
            if not self._cut and not _ends_whole(data, self._position):
                self._set_cut("its last record has no end")

    def _pages(self, file: BinaryIO) -> Iterator[Page]:
        for record in ArchiveIterator(file, parse_http=False):
            self._position = record.stream_pos
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
        self._quarantine.add(self.name, f"byte {self._position}", "cut file", found)

    def _go_on(self, data: mmap.mmap, start: int, error: str) -> int | None:
        """Where the next record after damage opens; one quarantine record for each damaged stretch."""
        reached = max(self._position, start)
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
    if record.is_http:
        return response_page(origin, block)
    mime = (record.headers.get("Content-Type") or "text/plain").partition(";")[0].strip().lower()
    return _typed(origin, mime, None, block if len(block) <= MAX_RECORD_BYTES else None)


def response_page(origin: tuple[str, str, str], block: bytes) -> Page | str:
    """Return the page in an HTTP response, its origin being (key, url, date), or the reason why there is none."""
    response = _parsed(block)
    if response is None:
        return "broken HTTP"
    if response.http_headers.status_code != 200:
        return "status"
    mime, charset = (response.http_content_type or "text/html").lower(), response.http_charset
    body = None if len(block) > MAX_RECORD_BYTES else response.reader.read(MAX_INFLATED_BYTES + 1)
    page = _typed(origin, mime, charset, None if body is None or len(body) > MAX_INFLATED_BYTES else body)
    return page if isinstance(page, str) else replace(page, robots=_robots(response))


def _typed(origin: tuple[str, str, str], mime: str, charset: str | None, body: bytes | None) -> Page | str:
    """The page of a body, None for one that is too large; a reason when its type is no page's."""
    if mime not in _PAGE_TYPES:
        return "media type"
    flaw = "too_large" if body is None else ""
    return Page(*origin, is_html=mime != "text/plain", charset=charset, body=body or b"", flaw=flaw)


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


def _robots(response: WarcRecord) -> str:
    named = response.http_headers.astuples() if response.http_headers else []
    return ", ".join(value for name, value in named if name.lower() == "x-robots-tag")


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
