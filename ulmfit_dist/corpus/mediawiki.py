"""Wikipedia's XML dumps: the articles between lines `<page>` and `</page>`, in plain or multistream files."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from ulmfit_dist.corpus.lines import numbered_lines
from ulmfit_dist.corpus.records import MAX_RECORD_BYTES, BadRecord, Record, check_text
from ulmfit_dist.corpus.wikitext import strip_markup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ulmfit_dist.corpus.compression import OpenedFile

_ARTICLES = "0"
_WIKITEXT = ("", "wikitext")


class MediaWikiReader:
    """Reads the articles whose `<page>` line is in a range of a dump, as Records of key id that open with their title.

    Pages of other namespaces, redirects and what is no wiki text are no articles. Set aside by
    `set_aside(position, reason, sample)`: a page that is never closed, that is no XML, or that cannot be text.
    """

    def __init__(self, file: OpenedFile, set_aside: Callable[[str, str, str], None]) -> None:
        self._file, self._set_aside = file, set_aside

    def __iter__(self) -> Iterator[Record]:
        page: list[bytes] | None = None
        size = 0
        for line in numbered_lines(self._file, 0):
            mark = line.data.strip()
            if mark == b"<page>":
                if page is not None:
                    self._aside(page, "page without </page>")
                if not line.within:
                    return
                page, size = [], 0
            elif page is not None and mark == b"</page>":
                yield from self._article(page, size)
                page = None
            elif page is not None:
                size += len(line.data)
                if size <= MAX_RECORD_BYTES:
                    page.append(line.data)
        if page is not None:
            self._aside(page, "page without </page>")

    def _article(self, page: list[bytes], size: int) -> Iterator[Record]:
        if size > MAX_RECORD_BYTES:
            self._aside(page, "too large")
            return
        try:
            # A fragment has no document type, so it can define no entity that would swell.
            root = ET.fromstring(b"<page>" + b"".join(page) + b"</page>")  # noqa: S314 - see above
        except ET.ParseError as error:
            self._aside(page, f"not XML: {error.msg.partition(':')[0]}")
            return
        key, title = root.findtext("id", ""), root.findtext("title", "")
        revision = root.find("revision")
        if root.findtext("ns", _ARTICLES) != _ARTICLES or root.find("redirect") is not None or revision is None:
            return
        if revision.findtext("model", "") not in _WIKITEXT:
            return
        try:
            text = check_text(f"{title}\n\n{strip_markup(revision.findtext('text') or '')}")
        except BadRecord as bad:
            self._set_aside(f"page {key}", bad.reason, bad.sample)
            return
        yield Record(key, f"page {key}", text, date=revision.findtext("timestamp", ""))

    def _aside(self, page: list[bytes], reason: str) -> None:
        head = b"".join(page)[:300].decode("utf-8", "replace")
        title = head.partition("<title>")[2].partition("</title>")[0]
        self._set_aside(f"page {title!r}", reason, head)
