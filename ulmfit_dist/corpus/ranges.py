"""Cutting a large file into ranges that are read apart: never through a record, with the same keys however it is cut.

JSON lines, wikiextractor's files, Wikipedia's dumps and text with a separator are cut at any byte (uncompressed),
between the members of a gzip or the streams of a bzip2 file; Parquet between row groups. Every other file, xz and zstd
too, is read in one pass.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ulmfit_dist.corpus.compression import BZ2_MAGIC, DAMAGED_STREAM, GZIP_MAGIC, XZ_MAGIC, ZSTD_MAGIC, OpenedFile
from ulmfit_dist.corpus.lines import count_lines
from ulmfit_dist.corpus.locations import RemotePath, open_at, seekable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ulmfit_dist.corpus.formats import Format
    from ulmfit_dist.corpus.locations import Location
    from ulmfit_dist.corpus.sources import Span

NUMBERED_FORMATS: frozenset[Format] = frozenset({"jsonl", "wiki", "text"})
"""The formats whose records are named by their lines: a range has to know how many come before it."""
_BLOCK = 1 << 22
# A member is looked for in so many piece sizes after the wanted place; a file of one member is then read in one pass.
_SEARCHED_PIECES = 4
# The start of a member: method deflate, no reserved flag. By chance it stands every 2**27 bytes; then 64 KiB that
# inflate without error settle it, since chance data break off within some hundred bytes.
_GZIP_MEMBER = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]")
_BZ2_STREAM = re.compile(rb"BZh[1-9]1AY&SY")
_TRIED_BYTES = 1 << 16


def cut(span: Span, piece_bytes: int, *, parted: bool = False) -> list[Span]:
    """Return the ranges of a whole file, of about `piece_bytes` each; the span itself where it cannot be cut.

    `parted`: text has a separator, and is cut too. Ranges of lines do not know yet how many lines are before them:
    `number_ranges` says it.
    """
    cuttable = span.kind in ("jsonl", "wiki", "mediawiki", "parquet") or (parted and span.kind == "text")
    if span.size < 2 * piece_bytes or not cuttable:
        return [span]
    try:
        if span.kind == "parquet":
            return _row_groups(span, piece_bytes)
        if isinstance(span.file, RemotePath) and not span.file.can_seek():
            return [span]
        starts = _starts(span.file, span.size, piece_bytes)
    except (*DAMAGED_STREAM, pa.ArrowException):
        # Whatever is wrong with it, the reader finds it too, and reports it.
        return [span]
    ranges = [replace(span, start=start, stop=stop, size=stop - start) for start, stop in pairwise(starts)]
    return [*ranges[:-1], replace(ranges[-1], stop=None)] if len(ranges) > 1 else [span]


def count_range(span: Span) -> int:
    """Return the number of line ends in a range of lines; 0 when it cannot be opened, which its reader reports."""
    try:
        with OpenedFile(span.file, span.start, span.stop) as file:
            return count_lines(file)
    except DAMAGED_STREAM:
        return 0


def number_ranges(ranges: Sequence[Span], lines: Sequence[int]) -> list[Span]:
    """Return the ranges of one file with the lines before each, from the number of line ends in each but the last."""
    return [replace(span, before=before) for span, before in zip(ranges, accumulate(lines, initial=0), strict=True)]


def _starts(location: Location, size: int, piece_bytes: int) -> list[int]:
    """Where the ranges of a file of lines begin, and its size."""
    with open_at(location) as file:
        magic = file.read(6)
    find = _finder(magic)
    if find is None:
        return [0, size]
    starts = [0]
    while size - starts[-1] >= 2 * piece_bytes:
        wanted = starts[-1] + piece_bytes
        found = find(location, wanted, min(size, wanted + _SEARCHED_PIECES * piece_bytes))
        if found is None:
            break
        starts.append(found)
    return [*starts, size]


def _finder(magic: bytes) -> Callable[[Location, int, int], int | None] | None:
    if magic.startswith((XZ_MAGIC, ZSTD_MAGIC)):
        return None
    if magic.startswith(GZIP_MAGIC):
        return lambda location, start, stop: _find(location, (start, stop), _GZIP_MEMBER, _inflates)
    if magic.startswith(BZ2_MAGIC):
        return lambda location, start, stop: _find(location, (start, stop), _BZ2_STREAM, lambda _: True)
    return lambda _, start, __: start


def _find(
    location: Location, within: tuple[int, int], pattern: re.Pattern[bytes], is_one: Callable[[bytes], bool]
) -> int | None:
    """The first place of a pattern in a stretch of a file at which `is_one` agrees, given the bytes from there on."""
    position, stop = within
    with open_at(location, position) as file:
        held = b""
        while block := file.read(_BLOCK):
            held += block
            for match in pattern.finditer(held, 0, len(held) - _TRIED_BYTES if len(block) == _BLOCK else len(held)):
                if position + match.start() >= stop:
                    return None
                if is_one(held[match.start() : match.start() + _TRIED_BYTES]):
                    return position + match.start()
            kept = held[-_TRIED_BYTES - 16 :]
            position += len(held) - len(kept)
            held = kept
            if position >= stop:
                return None
    return None


def _inflates(data: bytes) -> bool:
    try:
        zlib.decompressobj(31).decompress(data)
    except zlib.error:
        return False
    return True


def _row_groups(span: Span, piece_bytes: int) -> list[Span]:
    with seekable(span.file) as source, pq.ParquetFile(source) as file:
        groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
        sizes = [sum(group.column(i).total_compressed_size for i in range(group.num_columns)) for group in groups]
        rows = [group.num_rows for group in groups]
    ranges: list[Span] = []
    first = 0
    for index in range(len(sizes)):
        size = sum(sizes[first : index + 1])
        if size >= piece_bytes or index + 1 == len(sizes):
            ranges.append(replace(span, start=first, stop=index + 1, size=size, before=sum(rows[:first])))
            first = index + 1
    return ranges or [span]
