"""The stage that sorts documents by language: one pass over the corpus, a document folder a language and split.

Languages are modelled side by side; without it each of them would read the whole corpus, several times. It is done by
stretches of the corpus: what is written of one is whole once its receipt is there, and is not done again.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import (
    DOCUMENT_SCHEMA,
    KEEP,
    MANIFEST_NAME,
    MAX_ITEM_ROWS,
    ROW_GROUPS_PER_PART,
    PartWriter,
    read_manifest,
    write_manifest,
)
from ulmfit_dist.corpus.sealed import compare_file
from ulmfit_dist.errors import DataError
from ulmfit_dist.files import read_json, write_json
from ulmfit_dist.stage import RECORD_NAME, StageCall, Summary

KIND = "by-language"
"""The stage's name."""
_SHOWN_LANGUAGES = 20
# Half a minute's work (7e7 characters a second), and so what a killed run does again. Each language's last work
# item of a stretch is as small as what is left; a hundred billion characters are fifty stretches.
_STRETCH_CHARACTERS = 2_000_000_000
_RECEIPTS = "receipts"
# What waits to be written: UTF-8 takes up to three bytes a character, and a row group has some four copies on its way.
_MAX_WAITING_CHARACTERS = 256_000_000
# Crawl codes that name no language.
_NO_LANGUAGE = ("", "und", "multi")


class ByLanguageSettings(Settings):
    """How large the work items of a language are."""

    item_characters: int = Field(default=64_000_000, ge=1, description="characters of a work item")


def sort_by_language(call: StageCall[ByLanguageSettings]) -> Summary:
    """Stage: write the kept documents of `documents` as `out/<language>/<split>/`, in their order.

    Documents without a language, of an unknown one or of several are left out and counted. A language that has no
    document in a split has an empty folder there. Summary: {languages: {code: {split: {documents, characters}}},
    left_out: {code: documents}}. Raises DataError where no document has a language.
    """
    splits = sorted(path.parent for path in call.inputs["documents"].glob(f"*/{MANIFEST_NAME}"))
    found: dict[str, dict[str, dict[str, int]]] = {}
    left_out: Counter[str] = Counter()
    for split in splits:
        written = _sort_split(call, split)
        left_out += written.left_out
        for language, parts in sorted(written.parts.items()):
            manifest = write_manifest(call.out / language / split.name, parts, written.decisions[language])
            counts = {"documents": manifest.kept, "characters": manifest.characters}
            found.setdefault(language, {})[split.name] = counts
    if not found:
        raise DataError(
            "no document has a language",
            found=f"{left_out.total()} documents, none with the language that a crawl's pages are given",
            do="give a crawl (WARC) as corpus.sources, or take [languages] out of the recipe",
        )
    for language, by_split in found.items():
        for split in splits:
            if split.name not in by_split:
                write_manifest(call.out / language / split.name, [], {})
                by_split[split.name] = {"documents": 0, "characters": 0}
    shutil.rmtree(call.out / _RECEIPTS)
    languages = {language: dict(sorted(found[language].items())) for language in sorted(found)}
    return {"languages": languages, "left_out": dict(sorted(left_out.items()))}


def is_sorted_by_language(folder: Path) -> bool:
    """Whether a folder is what `sort_by_language` made."""
    record = folder / RECORD_NAME
    return record.is_file() and read_json(record)["kind"] == KIND


def no_documents_in(missing: Sequence[str], folder: Path) -> DataError:
    """Return the error for languages of which a folder that `sort_by_language` made has no training document."""
    summary = read_json(folder / RECORD_NAME)["summary"]
    counts = {language: sum(one["documents"] for one in own.values()) for language, own in summary["languages"].items()}
    most = sorted(counts, key=lambda language: (-counts[language], language))
    shown = ", ".join(f"{language} {counts[language]:,}" for language in most[:_SHOWN_LANGUAGES])
    more = f" and {len(most) - _SHOWN_LANGUAGES} more" if len(most) > _SHOWN_LANGUAGES else ""
    return DataError(
        f"the corpus has no training document in {', '.join(missing)}",
        found=f"documents in {shown}{more}; {sum(summary['left_out'].values()):,} in none or several languages",
        do="take it out of [languages], give text in it, or see in the ingest's report what its pages were taken for",
    )


@dataclass
class _Written:
    """What is written of a split: of each language its parts' descriptions and decisions; and what is left out."""

    parts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    decisions: dict[str, Counter[str]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, stretch: _Written) -> None:
        """Append what is written of the next stretch."""
        for language, parts in stretch.parts.items():
            self.parts.setdefault(language, []).extend(parts)
            self.decisions[language] = self.decisions.get(language, Counter()) + stretch.decisions[language]
        self.left_out += stretch.left_out


def _sort_split(call: StageCall[ByLanguageSettings], split: Path) -> _Written:
    """Sort a split, but for the stretches whose receipts an earlier attempt left."""
    written = _Written()
    for number, stretch in enumerate(_stretches(split)):
        receipt = call.out / _RECEIPTS / f"{split.name}-{number:05d}.json"
        done = _receipt(receipt, call.out, split.name)
        if done is None:
            sorter = _Sorter(call.out, split.name, call.settings.item_characters, written.parts)
            for table in _kept(split, stretch):
                sorter.add(table)
            done = sorter.finish()
            receipt.parent.mkdir(parents=True, exist_ok=True)
            write_json(receipt, vars(done))
        written.add(done)
    return written


def _receipt(path: Path, out: Path, split: str) -> _Written | None:
    """Return what a receipt says is written; None when there is none, or what it names is not there whole."""
    if not path.is_file():
        return None
    value = read_json(path)
    for language, parts in value["parts"].items():
        for part in parts:
            if compare_file(out / language / split / part["name"], part["bytes"], part["xxh3_128"]) is not None:
                return None
    decisions = {language: Counter(own) for language, own in value["decisions"].items()}
    return _Written(value["parts"], decisions, Counter(value["left_out"]))


class _Sorter:
    """The documents of one stretch of a split on their way to their languages' folders."""

    def __init__(self, out: Path, split: str, item_characters: int, before: Mapping[str, list[dict[str, Any]]]) -> None:
        self._out, self._split, self._item_characters, self._before = out, split, item_characters, before
        self._waiting: dict[str, list[pa.Table]] = {}
        self._characters: Counter[str] = Counter()
        self._writers: dict[str, _Parts] = {}
        self._left_out: Counter[str] = Counter()

    def add(self, table: pa.Table) -> None:
        """Take kept documents; write those of each language that make a work item."""
        for language in pc.unique(table.column("lang")).to_pylist():
            own = table.filter(pc.equal(table.column("lang"), language))
            if language in _NO_LANGUAGE:
                self._left_out[language] += own.num_rows
                continue
            self._waiting.setdefault(language, []).append(own)
            self._characters[language] += pc.sum(pc.utf8_length(own.column("text"))).as_py()
            if self._characters[language] >= self._item_characters or self._rows(language) >= MAX_ITEM_ROWS:
                self._write(language)
        # Of a hundred languages each may wait for the rest of its work item: the largest are written as they are.
        while self._characters.total() > _MAX_WAITING_CHARACTERS:
            self._write(max(self._characters, key=lambda language: (self._characters[language], language)))

    def finish(self) -> _Written:
        """Write the rest; return what of each language is written."""
        for language in sorted(self._waiting):
            self._write(language)
        for writer in self._writers.values():
            writer.close()
        parts = {language: writer.done for language, writer in sorted(self._writers.items())}
        decisions = {language: writer.decisions for language, writer in sorted(self._writers.items())}
        return _Written(parts, decisions, self._left_out)

    def _rows(self, language: str) -> int:
        return sum(table.num_rows for table in self._waiting[language])

    def _write(self, language: str) -> None:
        if language not in self._writers:
            before = len(self._before.get(language, ()))
            self._writers[language] = _Parts(self._out / language / self._split, before)
        self._writers[language].add(pa.concat_tables(self._waiting.pop(language)))
        del self._characters[language]


class _Parts:
    """The parts of one document folder from number `first` on, of which the last may be open."""

    def __init__(self, folder: Path, first: int) -> None:
        self._folder, self._first = folder, first
        self.done: list[dict[str, Any]] = []
        self.decisions: Counter[str] = Counter()
        self._open: tuple[PartWriter, contextlib.ExitStack] | None = None

    def add(self, table: pa.Table) -> None:
        """Append a row group."""
        if self._open is None:
            stack = contextlib.ExitStack()
            self._open = stack.enter_context(PartWriter(self._folder, self._first + len(self.done))), stack
        writer, _ = self._open
        writer.add(table)
        if len(writer.description["row_groups"]) == ROW_GROUPS_PER_PART:
            self.close()

    def close(self) -> None:
        """Close the last part, if one is open."""
        if self._open is not None:
            writer, stack = self._open
            stack.close()
            self.done.append(writer.description)
            self.decisions += writer.decisions
            self._open = None


def _stretches(folder: Path) -> Iterator[list[tuple[str, int]]]:
    """Yield the row groups of a document folder, (part, number), in order, by stretches of _STRETCH_CHARACTERS."""
    stretch: list[tuple[str, int]] = []
    characters = 0
    for part in read_manifest(folder).parts:
        for number, group in enumerate(part["row_groups"]):
            stretch.append((part["name"], number))
            characters += group["characters"]
            if characters >= _STRETCH_CHARACTERS:
                yield stretch
                stretch, characters = [], 0
    if stretch:
        yield stretch


def _kept(folder: Path, row_groups: Iterable[tuple[str, int]]) -> Iterator[pa.Table]:
    """Yield the kept rows of row groups of a document folder."""
    for name, numbers in groupby(row_groups, key=itemgetter(0)):
        with pq.ParquetFile(folder / name) as file:
            for _, number in numbers:
                table = file.read_row_group(number, columns=DOCUMENT_SCHEMA.names)
                yield table.filter(pc.equal(table.column("decision"), KEEP)).cast(DOCUMENT_SCHEMA)
