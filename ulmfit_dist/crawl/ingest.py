"""Stage `ingest`: raw sources become one document folder a split.

Every document that can be read keeps a row with the decision about it; records that cannot be read go to
quarantine.jsonl. One pass, one row group of each split in memory, and of all documents no more than hashes. The result
depends on the sources' content and names, the settings and the seed, never on where the files lie.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import xxhash

from ulmfit_dist.corpus.documents import DROP, KEEP, Document, DocumentWriter
from ulmfit_dist.corpus.formats import detect_format, files_below
from ulmfit_dist.corpus.quarantine import QUARANTINE_NAME, Quarantine, Tally
from ulmfit_dist.corpus.sources import SourceReader, check_source, no_labels, read_source
from ulmfit_dist.crawl.counts import SplitCounts
from ulmfit_dist.crawl.language import LanguageDetector
from ulmfit_dist.crawl.normalise import normalise
from ulmfit_dist.crawl.pages import page_document
from ulmfit_dist.crawl.settings import IngestSettings, Source, source_inputs, source_names, source_paths
from ulmfit_dist.crawl.splits import label_problem, split_of
from ulmfit_dist.crawl.warc import WarcReader
from ulmfit_dist.errors import DataError, InputError, UlmfitError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ulmfit_dist.corpus.records import SourceColumns
    from ulmfit_dist.stage import StageCall, Summary

__all__ = ["IngestSettings", "Source", "check_ingest_source", "check_inputs", "ingest", "source_inputs"]


def check_inputs(settings: IngestSettings, inputs: Mapping[str, Path]) -> None:
    """Check every source before any work: its first 1,000 records, and for labelled ones one scan of all labels.

    Raises InputError for what check_source refuses, a crawl where labels are needed, one class only, a split made by
    hash that would miss a class, and a label that training lacks.
    """
    labels = SplitCounts(_split_names(settings)).labels
    for source, path in zip(settings.sources, source_paths(settings, inputs), strict=True):
        crawl = check_ingest_source(path, settings.columns, labelled=False)
        if settings.labelled:
            if crawl:
                raise _crawl_without_labels(path)
            _scan_labels(source, path, settings, labels)
    if settings.labelled:
        _raise_label_problem(labels, settings, InputError)


def check_ingest_source(path: Path, columns: SourceColumns, labelled: bool) -> bool:
    """Check one source as `corpus.sources.check_source` does, but take a crawl where no labels are needed.

    Returns whether it is a crawl (WARC). Raises InputError.
    """
    if detect_format(path, columns.texts) != "warc":
        check_source(path, columns, labelled)
        return False
    if labelled:
        raise _crawl_without_labels(path)
    return True


def ingest(call: StageCall[IngestSettings]) -> Summary:
    """Read the sources and write `out/<split>/` document folders and `out/quarantine.jsonl`.

    Inputs: one path a source, in order of their keys. Summary: {records, sources: {name: {rows, kept, quarantined,
    skipped}}, decisions: {decision: {reason: n}}, documents, characters, labels, languages (each by split, of kept
    documents), quarantined: {reason: n}}. Raises InputError as check_inputs does, then DataError when too much cannot
    be read, a split gets no document, or its labels do not fit.
    """
    settings = call.settings
    check_inputs(settings, call.inputs)
    paths = source_paths(settings, call.inputs)
    names = source_names(paths)
    total = sum(map(_size, paths))
    done = 0
    with ExitStack() as stack:
        quarantine = stack.enter_context(Quarantine(call.out / QUARANTINE_NAME))
        writers = {
            split: stack.enter_context(DocumentWriter(call.out / split, settings.item_characters))
            for split in _split_names(settings)
        }
        run = _Ingest(settings, quarantine, writers)
        for source, path, name in zip(settings.sources, paths, names, strict=True):
            for position in run.read(source, path, name):
                call.reporter.progress(done + position, total, documents=run.num_rows)
            done += _size(path)
            call.reporter.progress(done, total, documents=run.num_rows)
        run.check()
    return run.summary()


class _Ingest:
    """One run: what has been seen, and what was decided."""

    def __init__(self, settings: IngestSettings, quarantine: Quarantine, writers: Mapping[str, DocumentWriter]) -> None:
        self._settings, self._quarantine, self._writers = settings, quarantine, writers
        self._ids: set[bytes] = set()
        self._texts: dict[str, set[bytes]] = {split: set() for split in writers}
        self._detector: LanguageDetector | None = None
        self._sources: dict[str, dict[str, Any]] = {}
        self._counts = SplitCounts(list(writers))

    @property
    def num_rows(self) -> int:
        """Documents written, dropped ones included."""
        return self._counts.decisions.total()

    def read(self, source: Source, path: Path, name: str) -> Iterator[int]:
        """Read one source; yields the position in it, in bytes on disk, after each record."""
        before = self._counts.snapshot()
        crawl = detect_format(path, self._settings.columns.texts) == "warc"
        if crawl:
            self._detector = self._detector or LanguageDetector()
            pages = WarcReader(path, self._quarantine, name)
            documents = (page_document(page, name) for page in pages)
            for document in islice(documents, self._settings.max_documents):
                self._take(document, source, name, crawl=True)
                yield pages.bytes_read
            skipped = dict(sorted(pages.skipped.items()))
        else:
            reader = SourceReader(path, self._settings.columns, self._quarantine, name)
            for document in islice(reader, self._settings.max_documents):
                self._take(document, source, name, crawl=False)
                yield reader.bytes_read
            skipped = {}
        rows, kept = (now - then for now, then in zip(self._counts.snapshot(), before, strict=True))
        quarantined = self._quarantine.by_source[name]
        self._sources[name] = {"rows": rows, "kept": kept, "quarantined": quarantined, "skipped": skipped}

    def check(self) -> None:
        """Raise DataError when too much was unreadable, a split got nothing, or the labels do not fit."""
        self._quarantine.check_share(self._settings.quarantine_share, self.num_rows + self._quarantine.total)
        empty = [split for split, count in self._counts.documents.items() if not count]
        if empty:
            decided = ", ".join(f"{n} {reason}" for reason, n in self._counts.by_reason().get(DROP, {}).items())
            found = f"{self._counts.documents.total()} kept in all; dropped: {decided or 'none'}"
            do = "give more text, or change the shares or the rule that leaves it empty"
            raise DataError(f"no document was kept in split {', '.join(empty)}", found=found, do=do)
        if self._settings.labelled:
            _raise_label_problem(self._counts.labels, self._settings, DataError)

    def summary(self) -> Summary:
        """The counts, as documented at `ingest`."""
        return {
            "records": self.num_rows + self._quarantine.total,
            "sources": self._sources,
            "quarantined": dict(sorted(self._quarantine.counts.items())),
            **self._counts.summary(),
        }

    def _take(self, document: Document, source: Source, name: str, *, crawl: bool) -> None:
        """Decide on a document and write it, or set it aside."""
        identity = bytes.fromhex(document.id)
        flaw = ""
        if identity in self._ids:
            flaw = "record key used twice"
        elif self._settings.labelled and document.label is None:
            flaw = "no label"
        if flaw:
            self._quarantine.add(name, document.source.removeprefix(f"{name}#"), flaw, document.text)
            return
        self._ids.add(identity)
        label = document.label if self._settings.labelled else None
        document = replace(document, text=normalise(document.text), label=label)
        split = source.split or split_of(document.text, self._settings.splits, self._settings.seed)
        document = self._decide(document, source, split, crawl=crawl)
        self._writers[split].add(document)
        self._counts.add(document, split)

    def _decide(self, document: Document, source: Source, split: str, *, crawl: bool) -> Document:
        if document.decision == DROP:
            return document
        words = " ".join(document.text.split())
        if not words:
            return replace(document, decision=DROP, reason="empty")
        key = xxhash.xxh3_128_digest(words.encode())
        if source.drops_duplicates and key in self._texts[split]:
            return replace(document, decision=DROP, reason="duplicate")
        if crawl:
            document = self._decide_on_crawl(document)
        if document.decision == KEEP:
            self._texts[split].add(key)
        return document

    def _decide_on_crawl(self, document: Document) -> Document:
        if len(document.text) < self._settings.min_characters:
            return replace(document, decision=DROP, reason="too_short")
        assert self._detector is not None
        language = self._detector.detect(document.text)
        document = replace(document, lang=language.code, lang_score=language.score)
        if self._settings.languages and language.code not in self._settings.languages:
            return replace(document, decision=DROP, reason="language")
        return document


def _crawl_without_labels(path: Path) -> InputError:
    return InputError(
        f"{path} has no labels", found="a crawl (WARC)", do="give labelled documents, or labelled = false"
    )


def _scan_labels(source: Source, path: Path, settings: IngestSettings, labels: dict[str, Counter[str]]) -> None:
    found, unlabelled = 0, 0
    documents = read_source(path, settings.columns, Tally())
    for document in islice(documents, settings.max_documents):
        if document.label is None:
            unlabelled += 1
            continue
        found += 1
        split = source.split or split_of(normalise(document.text), settings.splits, settings.seed)
        labels[split][document.label] += 1
    if unlabelled and not found:
        raise no_labels(path, settings.columns, unlabelled)


def _raise_label_problem(labels: Mapping[str, Counter[str]], settings: IngestSettings, kind: type[UlmfitError]) -> None:
    problem = label_problem(labels, {source.split for source in settings.sources})
    if problem is not None:
        what, found, do = problem
        raise kind(what, found=found, do=do)


def _split_names(settings: IngestSettings) -> list[str]:
    """The splits that are written: those that sources name, and the shares' where some source names none."""
    by_hash = set(settings.splits) if not all(source.split for source in settings.sources) else set()
    return sorted(by_hash | {source.split for source in settings.sources if source.split})


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in files_below(path)) if path.is_dir() else path.stat().st_size
