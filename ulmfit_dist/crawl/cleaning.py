"""Cleaning: the pages of one piece of a crawl, once the boilerplate of all sites and all stop words are known.

Order: blocklists, boilerplate lines, masks, length, language; then the text is final and is measured (quality.py),
keyed and signed (minhash.py). What is measured is judged later, so that other thresholds clean nothing again.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ulmfit_dist.corpus.documents import DROP, KEEP, Document
from ulmfit_dist.crawl.boilerplate import Boilerplate, site_hash
from ulmfit_dist.crawl.candidates import text_key
from ulmfit_dist.crawl.language import MULTIPLE, UNDETERMINED
from ulmfit_dist.crawl.masks import mask
from ulmfit_dist.crawl.minhash import shingles, signature, units_of
from ulmfit_dist.crawl.neardup import save_bands
from ulmfit_dist.crawl.piecefiles import (
    CLEAN,
    COMPARED,
    FACTS,
    HAS_WORDS,
    KEPT,
    LATER,
    NOAI,
    NOINDEX,
    CandidateWriter,
    are_whole,
    file_digests,
    pack_row,
    piece_path,
    read_candidates,
    read_rows,
)
from ulmfit_dist.crawl.quality import measure
from ulmfit_dist.crawl.sites import Blocklist, read_blocklist, site_of
from ulmfit_dist.crawl.splits import place_of
from ulmfit_dist.files import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from ulmfit_dist.crawl.pieces import Piece
    from ulmfit_dist.crawl.settings import IngestSettings


# To be raised where the same settings clean or measure otherwise than before, so that no old work is used again.
CLEANING_VERSION = 2


@dataclass(frozen=True)
class Survey:
    """What is known of all pieces: `buckets` of boilerplate in `lines`, stop words by language; `digest` of both."""

    lines: Path
    buckets: int
    stop_words: dict[str, list[int]]
    digest: str


@dataclass(frozen=True)
class CleanReceipt:
    """What the cleaning of a piece did.

    `counts`: boilerplate lines and characters taken out, masks by kind, pages by what they ask of robots; `dropped`:
    {language: {reason: documents}} of those dropped here or before.
    """

    basis: str
    files: dict[str, list[Any]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)


class PieceCleaner:
    """Cleans pieces in `folder`. `splits`: names of all splits, in the order of their numbers in ROWS."""

    def __init__(self, settings: IngestSettings, splits: list[str], folder: Path, survey: Survey) -> None:
        self._settings, self._splits, self._folder, self._survey = settings, splits, folder, survey
        self._boilerplate = Boilerplate(survey.lines, survey.buckets)
        self._blocklist = Blocklist(read_blocklist(map(Path, settings.crawl.blocklists)))
        self._stop_words = {code: np.array(words, np.uint64) for code, words in survey.stop_words.items()}

    def clean(self, piece: Piece, basis: str) -> None:
        """Clean a piece and write its files; `basis` stands for what it was made from."""
        source = self._settings.sources[piece.source]
        split = self._splits.index(source.split) if source.split else None
        work = _Work(split, compares=source.drops_duplicates and self._settings.crawl.near_duplicate_similarity > 0)
        rows = read_rows(self._folder, piece.index, "")
        with CandidateWriter(self._folder, piece.index, CLEAN) as writer:
            batches = read_candidates(self._folder, piece.index, slice(0, sys.maxsize), "")
            for document, row in zip(_documents(batches), rows["state"].tolist(), strict=True):
                cleaned = self._clean(document, work)
                work.count(cleaned, row)
                writer.add(cleaned, self._describe(cleaned, row, work))
        facts, bands = (piece_path(self._folder, piece.index, f"{CLEAN}{suffix}") for suffix in (".facts", ".bands"))
        write_bytes(facts, np.concatenate([np.empty(0, FACTS), *work.facts]).tobytes())
        save_bands(bands, work.signatures, work.groups)
        files = file_digests([*writer.paths, facts, bands])
        counts = {name: count for name, count in sorted(work.counts.items()) if count}
        dropped = {code: dict(sorted(reasons.items())) for code, reasons in sorted(work.dropped.items())}
        receipt = CleanReceipt(basis, files, counts, dropped)
        write_json(_receipt_path(self._folder, piece), asdict(receipt))

    def _clean(self, document: Document, work: _Work) -> Document:
        if self._blocklist and self._blocklist.has(document):
            # Its owner asked for it: the text is not even kept as what was dropped.
            return replace(document, decision=DROP, reason="blocked", text="")
        if document.decision == DROP:
            return document
        if not document.text.strip():
            return replace(document, decision=DROP, reason="empty")
        text, lines = self._boilerplate.clean(document.text, site_hash(site_of(document.url)))
        work.counts["boilerplate_lines"] += lines
        work.counts["boilerplate_characters"] += len(document.text) - len(text)
        text, masked = mask(text, self._settings.crawl.mask)
        work.counts.update({f"masked_{kind}": count for kind, count in masked.items()})
        document = replace(document, text=text)
        reason = self._reason(document)
        return replace(document, decision=DROP, reason=reason) if reason else document

    def _reason(self, document: Document) -> str:
        if not document.text.strip():
            return "boilerplate"
        if len(document.text) < self._settings.min_characters:
            return "too_short"
        wanted = self._settings.languages
        if not wanted or document.lang in wanted:
            return ""
        return {UNDETERMINED: "undetermined", MULTIPLE: "multiple_languages"}.get(document.lang, "language")

    def _describe(self, document: Document, state: int, work: _Work) -> bytes:
        """The row of a cleaned document; its facts and its signature go to `work`."""
        facts = np.zeros(1, FACTS)
        site = site_of(document.url) if self._settings.crawl.split_by == "site" else ""
        units = units_of(document.text)
        facts["place"] = (
            place_of(site, self._settings.seed) if site else place_of(str(units.whole), self._settings.seed)
        )
        facts["lang"] = document.lang.encode()
        key = bytes(16)
        if document.decision == KEEP:
            stop_words = self._stop_words.get(document.lang, _NO_WORDS)
            facts["measures"] = measure(document.text, units, stop_words)
            key, state = text_key(document.text, work.split), state | HAS_WORDS | KEPT
            if work.compares:
                state |= COMPARED
                work.signatures.append(signature(shingles(units)))
                # A language is compared with itself alone, and a named split too.
                work.groups.append(place_of(document.lang, LATER if work.split is None else work.split))
        work.facts.append(facts)
        return pack_row(document, key, LATER if work.split is None else work.split, state)


@dataclass
class _Work:
    """What is gathered over a piece. `split`: of its source, if that is named."""

    split: int | None
    compares: bool
    facts: list[np.ndarray] = field(default_factory=list)
    signatures: list[np.ndarray] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=dict)

    def count(self, document: Document, state: int) -> None:
        """Count a cleaned document by what its site asks for, and by its reason if it is dropped."""
        self.counts["asks_noai"] += bool(state & NOAI)
        self.counts["asks_noindex"] += bool(state & NOINDEX)
        if document.decision == DROP:
            self.dropped.setdefault(document.lang, Counter())[document.reason] += 1


_NO_WORDS = np.empty(0, np.uint64)


def read_clean_receipt(folder: Path, piece: Piece) -> CleanReceipt | None:
    """Return what the cleaning of a piece did; None when it is not cleaned."""
    path = _receipt_path(folder, piece)
    return CleanReceipt(**read_json(path)) if path.is_file() else None


def is_clean(folder: Path, piece: Piece, basis: str) -> bool:
    """Whether a piece is cleaned on this basis, and its files are whole."""
    receipt = read_clean_receipt(folder, piece)
    return receipt is not None and receipt.basis == basis and are_whole(folder, receipt.files)


def bands_path(folder: Path, piece: Piece) -> Path:
    """Where the signatures of a cleaned piece are."""
    return piece_path(folder, piece.index, f"{CLEAN}.bands")


def _documents(batches: Iterator[pa.RecordBatch]) -> Iterator[Document]:
    for batch in batches:
        columns = [column.to_pylist() for column in batch.columns]
        names = batch.schema.names
        for values in zip(*columns, strict=True):
            yield Document(**dict(zip(names, values, strict=True)))


def _receipt_path(folder: Path, piece: Piece) -> Path:
    return piece_path(folder, piece.index, f"{CLEAN}.json")
