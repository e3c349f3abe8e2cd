"""The pages of files that hold any: WARC, WET, ARC, HTML and plain text, one after the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ulmfit_dist.corpus.compression import DAMAGED_STREAM, OpenedFile
from ulmfit_dist.corpus.formats import detect_format
from ulmfit_dist.corpus.locations import as_local_file
from ulmfit_dist.crawl.arc import ArcReader
from ulmfit_dist.crawl.warc import MAX_INFLATED_BYTES, Page, WarcReader
from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ulmfit_dist.corpus.formats import Format
    from ulmfit_dist.corpus.quarantine import Tally
    from ulmfit_dist.corpus.sources import Span

_NO_TEXT_COLUMNS: list[str] = []


class PageReader:
    """Reads the pages of spans of one source, named `name` in the quarantine; iterate once.

    In a folder a page's key opens with its file's place. `skipped`: what is no page, by the reason ("no page file" for
    the pictures of a mirror); `bytes_read`: bytes on disk. A file that cannot be read is lost, and named.
    """

    def __init__(self, spans: Sequence[Span], quarantine: Tally, name: str) -> None:
        self._spans, self._quarantine, self.name = spans, quarantine, name
        self.skipped: Counter[str] = Counter()
        self.bytes_read = 0

    def __iter__(self) -> Iterator[Page]:
        for span in self._spans:
            finished = self.bytes_read
            try:
                for page in self._pages(span, finished):
                    key = ":".join(part for part in (span.inside, page.key) if part)
                    yield replace(page, key=key) if span.inside else page
            except DAMAGED_STREAM as error:
                # Readers go on after damage by themselves: this is a file that is gone, or a connection.
                self._quarantine.lose(self.name, span.size - (self.bytes_read - finished))
                place, found = span.inside or span.file.name, str(error) or type(error).__name__
                self._quarantine.add(self.name, place, "damaged or cut file", found)
            self.bytes_read = finished + span.size

    def _pages(self, span: Span, finished: int) -> Iterator[Page]:
        kind = self._kind(span)
        if kind in ("html", "text"):
            yield _file_page(span, is_html=kind == "html")
        elif kind in ("warc", "arc"):
            with as_local_file(span.file) as path:
                reader = self._reader(kind, path)
                for page in reader:
                    self.bytes_read = finished + reader.bytes_read
                    yield page
                self.skipped.update(reader.skipped)
        else:
            self.skipped["no page file"] += 1

    def _reader(self, kind: Format, path: Path) -> WarcReader | ArcReader:
        return (WarcReader if kind == "warc" else ArcReader)(path, self._quarantine, self.name)

    def _kind(self, span: Span) -> Format | None:
        if span.kind != "crawl":
            return span.kind
        if isinstance(span.file, Path) and not span.file.exists():
            raise FileNotFoundError(f"{span.file.name} is gone")
        try:
            # Without columns a file of no known name or content is a table, so that no style sheet is taken for a page.
            return detect_format(span.file, _NO_TEXT_COLUMNS)
        except InputError as error:
            # A file that cannot be opened or unpacked is lost; one that is no text is one of a mirror's pictures.
            if isinstance(error.__cause__, DAMAGED_STREAM):
                raise error.__cause__ from None
            return None


def _file_page(span: Span, *, is_html: bool) -> Page:
    """A file that is one page; in a folder its place there is its key."""
    with OpenedFile(span.file) as opened:
        body = opened.stream.read(MAX_INFLATED_BYTES + 1)
    flaw = "too_large" if len(body) > MAX_INFLATED_BYTES else ""
    key = "" if span.inside else span.file.name
    return Page(key, url="", date="", is_html=is_html, charset=None, body=b"" if flaw else body, flaw=flaw)
