"""Stage `ingest`: raw sources become one document folder a split.

Every document that can be read keeps a row with the decision about it; records that cannot be read go to
quarantine.jsonl. Steps: pieces of the sources are read apart (candidates.py); pages of crawls are surveyed over all
pieces, cleaned apart (cleaning.py) and compared band by band (neardup.py); what needs all documents is decided from
numbers alone (decisions.py, fates.py), and the parts of the document folders are written apart (parts.py). The result
depends on the sources' content and names, the settings and the seed, never on where the files lie or on who reads them
when.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ulmfit_dist.corpus.documents import DROP, MAX_ITEM_ROWS, ROW_GROUPS_PER_PART, write_manifest
from ulmfit_dist.corpus.quarantine import QUARANTINE_NAME, Quarantine
from ulmfit_dist.corpus.ranges import count_range
from ulmfit_dist.crawl.boilerplate import line_items, lines_path, make_line_writer
from ulmfit_dist.crawl.candidates import (
    Guard,
    PieceReader,
    Unguarded,
    is_cleaned,
    is_read,
    read_receipt,
    write_lost,
)
from ulmfit_dist.crawl.checks import check_inputs, raise_label_problem
from ulmfit_dist.crawl.cleaning import CLEANING_VERSION, PieceCleaner, Survey, bands_path, is_clean, read_clean_receipt
from ulmfit_dist.crawl.counts import SplitCounts, crawl_summary
from ulmfit_dist.crawl.decisions import AS_READ, KEY_TWICE, decide, plan_parts, set_aside_twice
from ulmfit_dist.crawl.fates import find_clusters, language_counts, save_fates, settle
from ulmfit_dist.crawl.folds import records_to_read
from ulmfit_dist.crawl.neardup import band_items, join, make_pair_writer, pairs_path
from ulmfit_dist.crawl.parts import is_written, make_part_writer, read_part_receipt
from ulmfit_dist.crawl.piecefiles import COMPARED, KEPT, piece_path, read_rows
from ulmfit_dist.crawl.pieces import CountItem, plan_pieces, reading_digest
from ulmfit_dist.crawl.settings import IngestSettings, source_locations, source_names, split_names
from ulmfit_dist.crawl.stopwords import stop_words
from ulmfit_dist.errors import DataError
from ulmfit_dist.files import digest_bytes, fingerprint, read_json, write_json

if TYPE_CHECKING:
    from ulmfit_dist.crawl.decisions import Part
    from ulmfit_dist.crawl.pieces import Piece
    from ulmfit_dist.events import Reporter
    from ulmfit_dist.stage import StageCall, Summary

_WORK_FOLDER = "pieces"


class Item(Protocol):
    """What is done at a time: a piece, a range, a part."""

    @property
    def index(self) -> int:
        """Its place among those done together."""

    @property
    def size(self) -> int:
        """Its share of the progress."""


# Told how much of the item in hand is done.
Told = Callable[[int], None]
MakeWork = Callable[[Told], Callable[[Any, Guard], None]]


class Run(Protocol):
    """Runs items somewhere: here, or on a pool."""

    def __call__(self, make: MakeWork, items: Sequence[Item], what: str) -> dict[int, str]:
        """Do all items, in any order; return {index: reason} of those that were given up."""


def run_here(reporter: Reporter) -> Run:
    """Return what runs items one after the other in this process; the first error ends it."""

    def run(make: MakeWork, items: Sequence[Item], what: str) -> dict[int, str]:
        total, done = sum(item.size for item in items), 0
        work = make(lambda position: reporter.progress(done + position, total, what=what))
        for item in items:
            work(item, Unguarded())
            done += item.size
        reporter.progress(total, total, what=what)
        return {}

    return run


def ingest(call: StageCall[IngestSettings], run: Run | None = None) -> Summary:
    """Read the sources and write `out/<split>/` document folders and `out/quarantine.jsonl`.

    Inputs: one path a local source, by its key (`source_inputs`). What an earlier call left half done is continued.
    Summary: {records, sources: {name: {rows, kept, quarantined, skipped}}, decisions: {decision: {reason: n}},
    documents, characters, labels, languages (each by split, of kept documents), quarantined: {reason: n}}. Raises
    InputError as check_inputs does, then DataError when too much cannot be read, a split gets no document, or its
    labels do not fit.
    """
    check_inputs(call.settings, call.inputs)
    stage = _Ingest(call, run or run_here(call.reporter))
    with _timed(call.reporter, "read"):
        stage.read()
    with _timed(call.reporter, "clean"):
        stage.clean()
    with _timed(call.reporter, "compare"):
        clusters = stage.compare()
    with _timed(call.reporter, "decide"):
        stage.decide(clusters)
    with _timed(call.reporter, "write"):
        summary = stage.write()
    if not call.settings.reuse:
        shutil.rmtree(call.out / _WORK_FOLDER)
    return summary


@contextlib.contextmanager
def _timed(reporter: Reporter, phase: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    reporter.event("phase-finished", phase=phase, seconds=round(time.monotonic() - start, 3))


class _Ingest:
    """One call: its pieces, and what was decided."""

    def __init__(self, call: StageCall[IngestSettings], run: Run) -> None:
        self._settings, self._out, self._run = call.settings, call.out, run
        self._splits = split_names(call.settings)
        locations = source_locations(call.settings, call.inputs)
        sources = list(zip(locations, source_names(locations), strict=True))
        self._folder = call.out / _WORK_FOLDER
        if call.settings.reuse:
            self._folder = Path(call.settings.reuse) / reading_digest(sources, call.settings.reading())
        self._folder.mkdir(parents=True, exist_ok=True)
        self._pieces = plan_pieces(sources, call.settings.columns, records_to_read(call.settings), self._count)
        self._pages = [piece for piece in self._pieces if is_cleaned(call.settings, piece)]
        self._quarantine = Quarantine(call.out / QUARANTINE_NAME)

    def read(self) -> None:
        """Read the pieces that are not read yet; one that is given up is lost, and named in the quarantine."""
        missing = [piece for piece in self._pieces if not is_read(self._folder, piece)]
        make = partial(_make_reader, self._settings, self._splits, self._folder)
        for index, reason in self._run(make, missing, "read").items():
            write_lost(self._settings, self._folder, self._pieces[index], reason)

    def clean(self) -> None:
        """Clean the pages of crawls, once what all of them have in common is counted."""
        if not self._pages:
            return
        survey = self._survey()
        settings = self._settings
        named = [
            CLEANING_VERSION,
            settings.crawl.cleaning(),
            settings.min_characters,
            settings.languages,
            survey.digest,
        ]
        compares = settings.crawl.near_duplicate_similarity > 0, settings.crawl.split_by
        bases = {
            piece.index: fingerprint([*named, *compares, _receipt(self._folder, piece).files]) for piece in self._pages
        }
        missing = [piece for piece in self._pages if not is_clean(self._folder, piece, bases[piece.index])]
        make = partial(_make_cleaner, (settings, self._splits, self._folder, survey), bases)
        self._must("the pages of a crawl cannot be cleaned", self._run(make, missing, "clean"))

    def compare(self) -> np.ndarray:
        """Return the cluster of each document that is compared for near-duplicates, as `neardup.join` does."""
        paths = [bands_path(self._folder, piece) for piece in self._pages]
        items = band_items(paths)
        similarity = self._settings.crawl.near_duplicate_similarity
        basis = fingerprint([similarity, *(_digests(self._folder, piece) for piece in self._pages)])
        folder = self._folder / f"pairs-{basis}"
        missing = [item for item in items if not pairs_path(folder, item).is_file()]
        make = partial(_make_comparer, (paths, folder, similarity))
        self._must("near-duplicates cannot be compared", self._run(make, missing, "compare") if missing else {})
        rows = [read_rows(self._folder, piece.index) for piece in self._pages]
        total = sum(int((some["state"] & COMPARED != 0).sum()) for some in rows)
        return join(total, (pairs_path(folder, item) for item in items))

    def decide(self, clusters: np.ndarray) -> None:
        """Decide on every document, write the quarantine, and raise DataError when too much of the sources is in it."""
        drops = [source.drops_duplicates for source in self._settings.sources]
        decided = decide(self._folder, self._pieces, drops)
        found = find_clusters(self._folder, decided, clusters)
        self._fates = settle(self._folder, decided, found, self._settings, self._splits)
        self._bases = []
        for piece, fates, members in zip(self._pieces, self._fates, found.members, strict=True):
            save_fates(self._folder, piece.index, fates, members)
            decisions = [digest_bytes(some.tobytes()) for some in (fates, members)]
            self._bases.append([_digests(self._folder, piece), decisions])
        with self._quarantine as quarantine:
            for piece, some in zip(self._pieces, decided, strict=True):
                set_aside_twice(self._folder, piece, some, quarantine)
        rows = sum(int((some != KEY_TWICE).sum()) for some in decided)
        self._records = rows + self._quarantine.total
        share = self._settings.quarantine_share
        self._quarantine.check_share(share, self._records)
        self._quarantine.check_lost(share, sum(piece.size for piece in self._pieces))

    def write(self) -> Summary:
        """Write the parts that are not written yet, check what they hold, and only then the manifests."""
        limits = self._settings.item_characters, MAX_ITEM_ROWS, ROW_GROUPS_PER_PART
        parts = plan_parts(self._folder, self._fates, self._splits, limits)
        basis = fingerprint(self._bases)
        missing = [part for part in parts if not is_written(self._folder, self._out, part, basis)]
        make = partial(_make_writer, self._folder, self._out, (self._splits, basis))
        self._must("{} parts of the documents cannot be written", self._run(make, missing, "write"))
        counts = SplitCounts(self._splits)
        for part in parts:
            counts.add(read_part_receipt(self._folder, part), part.split)
        self._check(counts)
        for split in self._splits:
            self._write_manifest(split, [part for part in parts if part.split == split])
        return {
            "records": self._records,
            "sources": self._by_source(),
            "quarantined": dict(sorted(self._quarantine.counts.items())),
            **counts.summary(),
            **self._crawl_summary(),
        }

    def _survey(self) -> Survey:
        """What all pages have in common: the boilerplate of their sites, the stop words of their languages."""
        paths = [piece_path(self._folder, piece.index, ".lines") for piece in self._pages]
        crawl = self._settings.crawl
        least = crawl.boilerplate_pages, crawl.boilerplate_share
        items = line_items(paths) if crawl.boilerplate_pages else []
        digests = [_receipt(self._folder, piece).files for piece in self._pages]
        basis = fingerprint([least, digests])
        folder = self._folder / f"lines-{basis}"
        missing = [item for item in items if not lines_path(folder, item.index).is_file()]
        make = partial(_make_line_writer, (paths, folder), least)
        self._must("the lines of sites cannot be counted", self._run(make, missing, "survey") if missing else {})
        words = stop_words(read_json(piece_path(self._folder, piece.index, ".words")) for piece in self._pages)
        return Survey(folder, len(items), words, fingerprint([basis, words]))

    def _must(self, what: str, lost: dict[int, str]) -> None:
        if lost:
            found = "; ".join(sorted(set(lost.values())))
            do = "mend the cause, then run the same command: finished work is kept"
            raise DataError(what.format(len(lost)), found=found, do=do)

    def _crawl_summary(self) -> Summary:
        if not self._pages:
            return {}
        receipts = [read_clean_receipt(self._folder, piece) for piece in self._pages]
        charsets: Counter[str] = Counter()
        for piece in self._pages:
            charsets.update(_receipt(self._folder, piece).charsets)
        judged = language_counts(self._folder, self._fates)
        return {"crawl": crawl_summary([one for one in receipts if one], judged, charsets)}

    def _count(self, items: list[CountItem]) -> list[int]:
        paths = [self._folder / f"lines-{item.index:05d}.json" for item in items]
        missing = [item for item, path in zip(items, paths, strict=True) if not path.is_file()]
        lost = self._run(partial(_make_counter, self._folder), missing, "count lines") if missing else {}
        self._must("the lines of a source cannot be counted", lost)
        return [int(read_json(path)) for path in paths]

    def _check(self, counts: SplitCounts) -> None:
        empty = [split for split, count in counts.documents.items() if not count]
        if empty:
            decided = ", ".join(f"{n} {reason}" for reason, n in counts.by_reason().get(DROP, {}).items())
            found = f"{counts.documents.total()} kept in all; dropped: {decided or 'none'}"
            do = "give more text, or change the shares or the rule that leaves it empty"
            raise DataError(f"no document was kept in split {', '.join(empty)}", found=found, do=do)
        if self._settings.labelled:
            raise_label_problem(counts.labels, self._settings, DataError)

    def _write_manifest(self, split: str, parts: list[Part]) -> None:
        receipts = [read_part_receipt(self._folder, part) for part in parts]
        decisions: dict[str, int] = {}
        for receipt in receipts:
            for name, count in receipt.decisions.items():
                decisions[name] = decisions.get(name, 0) + count
        names = self._settings.columns.label_names if self._settings.labelled else []
        # A single label is called so, whatever its column was called; several need their names.
        names = names if len(names) != 1 else ["label"]
        write_manifest(self._out / split, [receipt.description for receipt in receipts], decisions, names)

    def _by_source(self) -> dict[str, dict[str, Any]]:
        out: dict[str, dict[str, Any]] = {}
        for piece, fates in zip(self._pieces, self._fates, strict=True):
            kept = read_rows(self._folder, piece.index)["state"] & KEPT != 0
            counts = out.setdefault(piece.name, {"rows": 0, "kept": 0, "quarantined": 0, "skipped": {}})
            counts["rows"] += int((fates["fate"] != KEY_TWICE).sum())
            counts["kept"] += int((kept & (fates["fate"] == AS_READ)).sum())
            counts["quarantined"] = self._quarantine.by_source[piece.name]
            for reason, number in _receipt(self._folder, piece).skipped.items():
                counts["skipped"][reason] = counts["skipped"].get(reason, 0) + number
        return out


def _receipt(folder: Path, piece: Piece) -> Any:
    receipt = read_receipt(folder, piece)
    assert receipt is not None, "every piece is read, or written as lost"
    return receipt


def _make_reader(settings: IngestSettings, splits: list[str], folder: Path, told: Told) -> Callable[[Any, Guard], None]:
    reader = PieceReader(settings, splits, folder)
    return lambda piece, guard: reader.read(piece, guard, told)


def _digests(folder: Path, piece: Piece) -> Any:
    """The files that stand for a piece: as it was read, or cleaned."""
    clean = read_clean_receipt(folder, piece)
    return [_receipt(folder, piece).files, clean.files if clean is not None else None]


def _make_line_writer(
    where: tuple[list[Path], Path], least: tuple[int, float], _: Told
) -> Callable[[Any, Guard], None]:
    write = make_line_writer(*where, *least)
    return lambda item, _: write(item)


def _make_cleaner(
    how: tuple[IngestSettings, list[str], Path, Survey], bases: dict[int, str], _: Told
) -> Callable[[Any, Guard], None]:
    cleaner = PieceCleaner(*how)
    return lambda piece, _: cleaner.clean(piece, bases[piece.index])


def _make_comparer(how: tuple[list[Path], Path, float], _: Told) -> Callable[[Any, Guard], None]:
    write = make_pair_writer(*how)
    return lambda item, _: write(item)


def _make_writer(folder: Path, out: Path, how: tuple[list[str], str], _: Told) -> Callable[[Any, Guard], None]:
    write = make_part_writer(folder, out, *how)
    return lambda part, _: write(part)


def _make_counter(folder: Path, _: Told) -> Callable[[Any, Guard], None]:
    return lambda item, _: write_json(folder / f"lines-{item.index:05d}.json", count_range(item.span))
