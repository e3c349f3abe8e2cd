"""Stage `ingest`: raw sources become one document folder a split.

Every document that can be read keeps a row with the decision about it; records that cannot be read go to
quarantine.jsonl. Three steps: pieces of the sources are read apart (candidates.py), what needs all of them is decided
in the sources' order (decisions.py), the parts of the document folders are written apart (parts.py). The result depends
on the sources' content and names, the settings and the seed, never on where the files lie or on who reads them when.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ulmfit_dist.corpus.documents import DROP, MAX_ITEM_ROWS, ROW_GROUPS_PER_PART, write_manifest
from ulmfit_dist.corpus.quarantine import QUARANTINE_NAME, Quarantine
from ulmfit_dist.corpus.ranges import count_range
from ulmfit_dist.crawl.candidates import (
    KEPT,
    Guard,
    PieceReader,
    Unguarded,
    is_read,
    read_receipt,
    read_rows,
    write_lost,
)
from ulmfit_dist.crawl.checks import check_inputs, raise_label_problem
from ulmfit_dist.crawl.counts import SplitCounts
from ulmfit_dist.crawl.decisions import AS_READ, KEY_TWICE, decide, plan_parts, set_aside_twice
from ulmfit_dist.crawl.parts import is_written, make_part_writer, read_part_receipt, save_decided
from ulmfit_dist.crawl.pieces import CountItem, plan_pieces
from ulmfit_dist.crawl.settings import IngestSettings, source_locations, source_names, split_names
from ulmfit_dist.errors import DataError
from ulmfit_dist.files import fingerprint, read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

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
    stage.read()
    stage.decide()
    summary = stage.write()
    shutil.rmtree(call.out / _WORK_FOLDER)
    return summary


class _Ingest:
    """One call: its pieces, and what was decided."""

    def __init__(self, call: StageCall[IngestSettings], run: Run) -> None:
        self._settings, self._out, self._run = call.settings, call.out, run
        self._folder = call.out / _WORK_FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        self._splits = split_names(call.settings)
        locations = source_locations(call.settings, call.inputs)
        sources = list(zip(locations, source_names(locations), strict=True))
        self._pieces = plan_pieces(sources, call.settings.columns, call.settings.max_documents, self._count)
        self._quarantine = Quarantine(call.out / QUARANTINE_NAME)

    def read(self) -> None:
        """Read the pieces that are not read yet; one that is given up is lost, and named in the quarantine."""
        missing = [piece for piece in self._pieces if not is_read(self._folder, piece)]
        make = partial(_make_reader, self._settings, self._splits, self._folder)
        for index, reason in self._run(make, missing, "read").items():
            write_lost(self._folder, self._pieces[index], self._splits, reason)

    def decide(self) -> None:
        """Find the duplicates, write the quarantine, and raise DataError when too much of the sources is in it."""
        drops = [source.drops_duplicates for source in self._settings.sources]
        self._decided = decide(self._folder, self._pieces, drops)
        with self._quarantine as quarantine:
            for piece, decided in zip(self._pieces, self._decided, strict=True):
                save_decided(self._folder, piece.index, decided)
                set_aside_twice(self._folder, piece, (decided, self._splits), quarantine)
        rows = sum(int((decided != KEY_TWICE).sum()) for decided in self._decided)
        self._records = rows + self._quarantine.total
        share = self._settings.quarantine_share
        self._quarantine.check_share(share, self._records)
        self._quarantine.check_lost(share, sum(piece.size for piece in self._pieces))

    def write(self) -> Summary:
        """Write the parts that are not written yet, check what they hold, and only then the manifests."""
        limits = self._settings.item_characters, MAX_ITEM_ROWS, ROW_GROUPS_PER_PART
        parts = plan_parts(self._folder, self._decided, self._splits, limits)
        basis = fingerprint([[_receipt(self._folder, piece).files, self._fate(piece)] for piece in self._pieces])
        missing = [part for part in parts if not is_written(self._folder, self._out, part, basis)]
        lost = self._run(partial(_make_writer, self._folder, self._out, (self._splits, basis)), missing, "write")
        if lost:
            found = "; ".join(sorted(set(lost.values())))
            do = "mend the cause, then run the same command: finished work is kept"
            raise DataError(f"{len(lost)} parts of the documents cannot be written", found=found, do=do)
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
        }

    def _count(self, items: list[CountItem]) -> list[int]:
        paths = [self._folder / f"lines-{item.index:05d}.json" for item in items]
        missing = [item for item, path in zip(items, paths, strict=True) if not path.is_file()]
        lost = self._run(partial(_make_counter, self._folder), missing, "count lines") if missing else {}
        if lost:
            found, do = "; ".join(sorted(set(lost.values()))), "mend the cause, then run the same command"
            raise DataError("the lines of a source cannot be counted", found=found, do=do)
        return [int(read_json(path)) for path in paths]

    def _fate(self, piece: Piece) -> str:
        return fingerprint(self._decided[piece.index].tobytes().hex())

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
        for piece, decided in zip(self._pieces, self._decided, strict=True):
            kept = read_rows(self._folder, piece.index)["state"] & KEPT != 0
            counts = out.setdefault(piece.name, {"rows": 0, "kept": 0, "quarantined": 0, "skipped": {}})
            counts["rows"] += int((decided != KEY_TWICE).sum())
            counts["kept"] += int((kept & (decided == AS_READ)).sum())
            counts["quarantined"] = self._quarantine.by_source[piece.name]
            counts["skipped"].update(_receipt(self._folder, piece).skipped)
        return out


def _receipt(folder: Path, piece: Piece) -> Any:
    receipt = read_receipt(folder, piece)
    assert receipt is not None, "every piece is read, or written as lost"
    return receipt


def _make_reader(settings: IngestSettings, splits: list[str], folder: Path, told: Told) -> Callable[[Any, Guard], None]:
    reader = PieceReader(settings, splits, folder)
    return lambda piece, guard: reader.read(piece, guard, told)


def _make_writer(folder: Path, out: Path, how: tuple[list[str], str], _: Told) -> Callable[[Any, Guard], None]:
    write = make_part_writer(folder, out, *how)
    return lambda part, _: write(part)


def _make_counter(folder: Path, _: Told) -> Callable[[Any, Guard], None]:
    return lambda item, _: write_json(folder / f"lines-{item.index:05d}.json", count_range(item.span))
