"""Plain text files of several documents: a line that matches the separator stands between two of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ulmfit_dist.corpus.lines import BOM, Body, Line, numbered_lines
from ulmfit_dist.corpus.records import MAX_RECORD_BYTES, BadRecord, Record, check_text, decode_utf8
from ulmfit_dist.tokenization.rawtext import join_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ulmfit_dist.corpus.compression import OpenedFile


class PartedReader:
    """Reads the documents that begin in a range of a file, as Records named by the number of their first line.

    `separator` is a regular expression for a whole line without its end; such a line is in no document. What lies
    between two of them and is blank is no document. What stands before the first separator of a range that is not the
    file's first belongs to the range before. Set aside by `set_aside(position, reason, sample)`: a document that cannot
    be text.
    """

    def __init__(
        self, file: OpenedFile, before: int, separator: str, set_aside: Callable[[str, str, str], None]
    ) -> None:
        self._file, self._before, self._set_aside = file, before, set_aside
        self._separator = re.compile(separator)

    def __iter__(self) -> Iterator[Record]:
        body = None if self._file.start else Body()
        first = self._before + 1
        for line in numbered_lines(self._file, self._before):
            if self._parts(line):
                if body is not None:
                    yield from self._document(first, body)
                if not line.within:
                    return
                body, first = Body(), line.number + 1
            elif body is not None:
                body.add(line.data)
            elif not line.within:
                return
        if body is not None:
            yield from self._document(first, body)

    def _parts(self, line: Line) -> bool:
        # A broken byte elsewhere in the line is for its document to report.
        text = line.data.removeprefix(BOM).rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        return self._separator.fullmatch(text) is not None

    def _document(self, first: int, body: Body) -> Iterator[Record]:
        data = body.text().removeprefix(BOM)
        position = f"line {first}"
        if body.size > MAX_RECORD_BYTES:
            self._set_aside(position, "too large", data[:200].decode("utf-8", "replace"))
            return
        try:
            text = check_text(join_fields([decode_utf8(data)]))
        except BadRecord as bad:
            self._set_aside(position, bad.reason, bad.sample)
            return
        if text.strip():
            yield Record(str(first), position, text)
