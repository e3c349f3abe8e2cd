"""Files of wikiextractor: articles between a line `<doc id="12" url="..." title="...">` and a line `</doc>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ulmfit_dist.corpus.formats import WIKI_OPENING
from ulmfit_dist.corpus.lines import BOM, Body, Line, numbered_lines
from ulmfit_dist.corpus.records import MAX_RECORD_BYTES, BadRecord, Record, check_text, decode_utf8

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

    from ulmfit_dist.corpus.compression import OpenedFile

_CLOSING = b"</doc>"


class WikiReader:
    """Reads the articles that begin in a range of a file, as Records of key id; their title stays in the text.

    Set aside by `set_aside(position, reason, sample)`: an article that is never closed, one that cannot be text, and
    text outside articles (one record for a stretch of it). What stands before the first article of a range that is
    not the file's first belongs to the range before.
    """

    def __init__(self, file: OpenedFile, before: int, set_aside: Callable[[str, str, str], None]) -> None:
        self._file, self._before, self._set_aside = file, before, set_aside

    def __iter__(self) -> Iterator[Record]:
        opening: Line | None = None
        body = Body()
        # Text before the first article is nobody's but of the file's first range.
        reported = self._file.start > 0
        for line in numbered_lines(self._file, self._before):
            if line.data.startswith(b"<doc ", line.data.startswith(BOM) * 3) and _match(line):
                self._unclosed(opening)
                if not line.within:
                    return
                opening, body, reported = line, Body(), True
            elif opening is None:
                if line.data.strip() and not reported:
                    self._set_aside(f"line {line.number}", "text outside an article", _shown(line.data))
                    reported = True
            elif line.data.strip() == _CLOSING:
                yield from self._article(opening, body)
                opening, reported = None, False
            else:
                body.add(line.data)
        self._unclosed(opening)

    def _unclosed(self, opening: Line | None) -> None:
        if opening is not None:
            self._set_aside(f"line {opening.number}", "article without </doc>", _shown(opening.data))

    def _article(self, opening: Line, body: Body) -> Iterator[Record]:
        match = _match(opening)
        assert match is not None
        position = f"line {opening.number}"
        if body.size > MAX_RECORD_BYTES:
            self._set_aside(position, "too large", _shown(opening.data))
            return
        try:
            key, url = (decode_utf8(match[name] or b"") for name in ("id", "url"))
            record = Record(key, position, check_text(decode_utf8(body.text())), url=url)
        except BadRecord as bad:
            self._set_aside(position, bad.reason, bad.sample)
            return
        yield record


def _match(line: Line) -> re.Match[bytes] | None:
    return WIKI_OPENING.fullmatch(line.data.removeprefix(BOM))


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")
