"""The stage that sorts documents by language: one pass over the corpus, a document folder a language and split.

Languages are modelled side by side; without it each of them would read the whole corpus, several times.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
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
from ulmfit_dist.errors import DataError
from ulmfit_dist.stage import StageCall, Summary

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
        sorter = _Sorter(call.out, split.name, call.settings.item_characters)
        for table in _kept(split):
            sorter.add(table)
        for language, counts in sorter.finish().items():
            found.setdefault(language, {})[split.name] = counts
        left_out += sorter.left_out
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
    languages = {language: dict(sorted(found[language].items())) for language in sorted(found)}
    return {"languages": languages, "left_out": dict(sorted(left_out.items()))}


class _Sorter:
    """The documents of one split on their way to their languages' folders."""

    def __init__(self, out: Path, split: str, item_characters: int) -> None:
        self._out, self._split, self._item_characters = out, split, item_characters
        self._waiting: dict[str, list[pa.Table]] = {}
        self._characters: Counter[str] = Counter()
        self._writers: dict[str, _Parts] = {}
        self.left_out: Counter[str] = Counter()

    def add(self, table: pa.Table) -> None:
        """Take kept documents; write those of each language that make a work item."""
        for language in pc.unique(table.column("lang")).to_pylist():
            own = table.filter(pc.equal(table.column("lang"), language))
            if language in _NO_LANGUAGE:
                self.left_out[language] += own.num_rows
                continue
            self._waiting.setdefault(language, []).append(own)
            self._characters[language] += pc.sum(pc.utf8_length(own.column("text"))).as_py()
            if self._characters[language] >= self._item_characters or self._rows(language) >= MAX_ITEM_ROWS:
                self._write(language)
        # Of a hundred languages each may wait for the rest of its work item: the largest are written as they are.
        while self._characters.total() > _MAX_WAITING_CHARACTERS:
            self._write(max(self._characters, key=lambda language: (self._characters[language], language)))

    def finish(self) -> dict[str, dict[str, int]]:
        """Write the rest and the manifests; return what each language has."""
        for language in sorted(self._waiting):
            self._write(language)
        manifests = {language: parts.finish() for language, parts in sorted(self._writers.items())}
        return {name: {"documents": one.kept, "characters": one.characters} for name, one in manifests.items()}

    def _rows(self, language: str) -> int:
        return sum(table.num_rows for table in self._waiting[language])

    def _write(self, language: str) -> None:
        if language not in self._writers:
            self._writers[language] = _Parts(self._out / language / self._split)
        self._writers[language].add(pa.concat_tables(self._waiting.pop(language)))
        del self._characters[language]


class _Parts:
    """The parts of one document folder, of which the last may be open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: list[dict[str, Any]] = []
        self._decisions: Counter[str] = Counter()
        self._open: tuple[PartWriter, contextlib.ExitStack] | None = None

    def add(self, table: pa.Table) -> None:
        """Append a row group."""
        if self._open is None:
            stack = contextlib.ExitStack()
            self._open = stack.enter_context(PartWriter(self._folder, len(self._done))), stack
        writer, _ = self._open
        writer.add(table)
        if len(writer.description["row_groups"]) == ROW_GROUPS_PER_PART:
            self._close()

    def finish(self) -> Any:
        """Close the last part, write the manifest and return it."""
        self._close()
        return write_manifest(self._folder, self._done, self._decisions)

    def _close(self) -> None:
        if self._open is not None:
            writer, stack = self._open
            stack.close()
            self._done.append(writer.description)
            self._decisions += writer.decisions
            self._open = None


def _kept(folder: Path) -> Iterator[pa.Table]:
    """Yield the kept rows of each row group of a document folder."""
    for part in read_manifest(folder).parts:
        with pq.ParquetFile(folder / part["name"]) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=DOCUMENT_SCHEMA.names)
                yield table.filter(pc.equal(table.column("decision"), KEEP)).cast(DOCUMENT_SCHEMA)
