"""Pieces of an ingest: what one worker reads at a time, about 64 MB of one source's files, in the sources' order.

Of web pages 8 MB: packed in WARC files these take one process some 15 seconds, as 64 MB of text do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ulmfit_dist.corpus.formats import CRAWL_FORMATS, Format, detect_format
from ulmfit_dist.corpus.locations import RemotePath, files_in, size_of
from ulmfit_dist.corpus.ranges import NUMBERED_FORMATS, cut, number_ranges
from ulmfit_dist.corpus.sources import Span, source_spans
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ulmfit_dist.corpus.locations import Location
    from ulmfit_dist.corpus.records import SourceColumns

# Not a setting: damage is lost to the end of its range, so the ranges are part of the result.
PIECE_BYTES = 64 << 20
_CRAWL_WEIGHT = 8
# To be raised where the same settings read a page otherwise than before, so that no old reading is used again.
READING_VERSION = 2


@dataclass(frozen=True)
class Piece:
    """Whole small files of one source, or one range of a large one. `source`: its place among the sources.

    `limit`: documents to read at most. `digest` names the piece by what it reads, for its receipt.
    """

    index: int
    source: int
    name: str
    spans: tuple[Span, ...]
    limit: int | None = None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(span.size for span in self.spans)

    @property
    def digest(self) -> str:
        """xxh3_128 of what is read; the content behind it is held by the stage's fingerprint."""
        spans = [[span.inside, span.size, span.start, span.stop, span.before] for span in self.spans]
        return fingerprint([self.source, self.name, spans, self.limit])

    @property
    def work(self) -> int:
        """Bytes of text that take as long to read."""
        return self.size * _weight(self.spans[0].kind)

    @property
    def is_crawl(self) -> bool:
        """Whether it holds web pages."""
        return self.spans[0].kind in CRAWL_FORMATS


@dataclass(frozen=True)
class CountItem:
    """A range whose lines are to be counted, so that the ranges after it know their numbers."""

    index: int
    span: Span

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.span.size


def plan_pieces(
    sources: Sequence[tuple[Location, str]],
    columns: SourceColumns,
    limit: int | None,
    count: Callable[[list[CountItem]], list[int]],
) -> list[Piece]:
    """Cut the sources (location, name) into pieces; `count` gives the line ends of each item.

    With a `limit` of documents a source is one piece. Raises InputError for a source that cannot be read at all.
    """
    ranges = [_ranges(location, columns, whole=limit is not None) for location, _ in sources]
    counted = [
        CountItem(0, span)
        for files in ranges
        for spans in files
        for span in spans[:-1]
        if span.kind in NUMBERED_FORMATS
    ]
    counts = iter(count([replace(item, index=index) for index, item in enumerate(counted)]))
    pieces: list[Piece] = []
    for source, ((_, name), files) in enumerate(zip(sources, ranges, strict=True)):
        numbered = [
            number_ranges(spans, [next(counts) for _ in spans[:-1]]) if spans[0].kind in NUMBERED_FORMATS else spans
            for spans in files
        ]
        groups = [[span for spans in files for span in spans]] if limit is not None else _grouped(numbered)
        pieces += [Piece(len(pieces) + i, source, name, tuple(spans), limit) for i, spans in enumerate(groups)]
    return pieces


def _weight(kind: Format | None) -> int:
    return _CRAWL_WEIGHT if kind in CRAWL_FORMATS else 1


def _ranges(location: Location, columns: SourceColumns, *, whole: bool) -> list[list[Span]]:
    """Each file of a source as its ranges."""
    files = source_spans(location, columns)
    parted = bool(columns.separator)
    return [
        [span] if whole or span.size < 2 * PIECE_BYTES else cut(_known(span, columns), PIECE_BYTES, parted=parted)
        for span in files
    ]


def _known(span: Span, columns: SourceColumns) -> Span:
    """A large file with its kind, which says whether it can be cut."""
    if span.kind is not None:
        return span
    try:
        return replace(span, kind=detect_format(span.file, columns.texts))
    except InputError:
        return span


def _grouped(files: list[list[Span]]) -> list[list[Span]]:
    """Consecutive small files together; a range of a file that was cut alone."""
    groups: list[list[Span]] = []
    room = 0
    for spans in files:
        if len(spans) == 1 and spans[0].size < room:
            groups[-1] += spans
            room -= spans[0].size
            continue
        groups += [[span] for span in spans]
        room = PIECE_BYTES // _weight(spans[0].kind) - spans[0].size if len(spans) == 1 else 0
    return groups


def reading_digest(sources: Sequence[tuple[Location, str]], reading: object) -> str:
    """Return what names the reading of sources (location, name) in the way of `reading`: of files path, size and time.

    A URL is named by itself and its size.
    """
    seen = []
    for location, name in sources:
        files = files_in(location) if location.is_dir() else [("", location)]
        for inside, file in files:
            changed = 0 if isinstance(file, RemotePath) else file.stat().st_mtime_ns
            seen.append([str(location), name, inside, size_of(file), changed])
    return fingerprint([READING_VERSION, reading, seen])


def busy_workers(locations: Iterable[Location], workers: int) -> int:
    """Return how many of `workers` sources have work for: 1 where they make no more than a piece.

    A URL counts as two pieces, since asking for its size takes a connection; a local path that is not there as none.
    """
    total = 0
    for location in locations:
        if isinstance(location, RemotePath):
            total += 2 * PIECE_BYTES
        elif location.exists():
            size = sum(size_of(file) for _, file in files_in(location)) if location.is_dir() else size_of(location)
            total += size * _weight(_kind(location))
    return min(workers, 1 + total // PIECE_BYTES)


def _kind(location: Location) -> Format | None:
    try:
        return detect_format(location, [])
    except InputError:  # whoever reads it says so
        return None
