"""Boilerplate: lines that stand on many pages of a site say nothing about any of them, and are taken out.

Each piece leaves how many of a site's pages have a line (`LineCounts`); buckets of sites are then counted apart
(`make_line_writer`), and those who clean look up a page's lines in the result (`Boilerplate`). Lines are compared
without case, numbers and outer blanks: "Page 2 of 9" is one line on all pages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from ulmfit_dist.crawl.minhash import mix
from ulmfit_dist.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_COUNT = np.dtype([("site", "<u8"), ("line", "<u8"), ("pages", "<u4")])
# A line's hash is never this one: it stands for the page itself.
_PAGE = 0
_DIGITS = re.compile(r"\d+")
# Lines of a bucket: 20 bytes each, and their order.
BUCKET_LINES = 1 << 22


@dataclass(frozen=True)
class LineItem:
    """The sites of one bucket: those whose remainder by `buckets` is `index`."""

    index: int
    buckets: int
    size: int


def site_hash(site: str) -> int:
    """Return 64 bits of a site's name."""
    return int(xxhash.xxh3_64_intdigest(site.encode("utf-8", "surrogatepass")))


def line_hashes(text: str) -> np.ndarray:
    """Return the hash of each line of a text, uint64; 0 for an empty line."""
    plain = _DIGITS.sub("0", text.casefold())
    return np.array(
        [
            xxhash.xxh3_64_intdigest(line.encode("utf-8", "surrogatepass")) or 1 if line else _PAGE
            for line in (line.strip() for line in plain.split("\n"))
        ],
        np.uint64,
    )


class LineCounts:
    """How many pages of each site have each line, over the pages of a piece; 20 bytes a different line of a page."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []
        self._pending = 0

    def add(self, site: int, text: str) -> None:
        """Count a page."""
        lines = np.unique(line_hashes(text))
        lines = lines if len(lines) and lines[0] == _PAGE else np.concatenate([[np.uint64(_PAGE)], lines])
        block = np.empty(len(lines), _COUNT)
        block["site"], block["line"], block["pages"] = site, lines, 1
        self._blocks.append(block)
        self._pending += len(block)
        if self._pending > BUCKET_LINES:
            self._blocks = [_summed(np.concatenate(self._blocks))]
            self._pending = 0

    def save(self, path: Path) -> None:
        """Write the counts, sorted by site and line."""
        write_bytes(path, _summed(np.concatenate([np.empty(0, _COUNT), *self._blocks])).tobytes())


def line_items(paths: Sequence[Path]) -> list[LineItem]:
    """Return what is to be counted over the files of all pieces."""
    size = sum(path.stat().st_size for path in paths)
    buckets = 1 + size // (_COUNT.itemsize * BUCKET_LINES)
    return [LineItem(index, buckets, size // buckets) for index in range(buckets)] if size else []


def make_line_writer(paths: Sequence[Path], folder: Path, min_pages: int, share: float) -> Callable[[LineItem], None]:
    """Return the function that finds the boilerplate of a bucket of sites and writes it to `folder`.

    Boilerplate: a line on at least `min_pages` pages of a site, and at least `share` (0..1) of its pages.
    """

    def write(item: LineItem) -> None:
        some = [np.empty(0, _COUNT)]
        for path in paths:
            if path.stat().st_size:
                mapped = np.memmap(path, _COUNT, "r")
                some.append(mapped[mapped["site"] % np.uint64(item.buckets) == item.index])
        counts = _summed(np.concatenate(some))
        # A site's first line is the page itself.
        first = counts["line"] == _PAGE
        pages = counts["pages"][first][np.cumsum(first) - 1]
        often = ~first & (counts["pages"] >= min_pages) & (counts["pages"] >= share * pages)
        keys = np.sort(_keys(counts["site"][often], counts["line"][often]))
        write_bytes(lines_path(folder, item.index), keys.tobytes())

    return write


def lines_path(folder: Path, bucket: int) -> Path:
    """Where the boilerplate of a bucket is."""
    return folder / f"boilerplate-{bucket:05d}.keys"


class Boilerplate:
    """The boilerplate of all sites, mapped."""

    def __init__(self, folder: Path, buckets: int) -> None:
        paths = [lines_path(folder, bucket) for bucket in range(buckets)]
        self._buckets = [np.memmap(path, "<u8", "r") if path.stat().st_size else _NO_KEYS for path in paths]

    def clean(self, text: str, site: int) -> tuple[str, int]:
        """Return a page's text without the boilerplate of its site, and how many lines that was."""
        known = self._buckets[site % len(self._buckets)] if self._buckets else _NO_KEYS
        if not len(known):
            return text, 0
        keys = _keys(np.uint64(site), line_hashes(text))
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        bad = known[places] == keys
        if not bad.any():
            return text, 0
        lines = [line for line, out in zip(text.split("\n"), bad.tolist(), strict=True) if not out]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n"), int(bad.sum())


_NO_KEYS = np.empty(0, np.uint64)


def _keys(sites: np.ndarray | np.uint64, lines: np.ndarray) -> np.ndarray:
    return mix(mix(np.atleast_1d(np.asarray(sites, np.uint64))) ^ lines)


def _summed(counts: np.ndarray) -> np.ndarray:
    """Equal lines of equal sites together, sorted."""
    counts = counts[np.lexsort((counts["line"], counts["site"]))]
    if not len(counts):
        return counts
    new = np.ones(len(counts), bool)
    new[1:] = (counts["site"][1:] != counts["site"][:-1]) | (counts["line"][1:] != counts["line"][:-1])
    starts = np.flatnonzero(new)
    out = counts[starts]
    out["pages"] = np.add.reduceat(counts["pages"], starts)
    return out
