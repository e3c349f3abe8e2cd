"""The scan behind the report of a crawl: the columns of an ingest's documents, once, a batch at a time.

What it returns is plain JSON and depends on the documents alone. It names the manifests that it was made from, so that
a report is drawn again without reading them again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ulmfit_dist.corpus.documents import KEEP, MANIFEST_NAME, read_manifest
from ulmfit_dist.crawl.scripts import is_unspaced
from ulmfit_dist.crawl.sites import site_of
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import digest_file, fingerprint
from ulmfit_dist.report.tallies import Heaviest, LargestClusters, Lengths, Samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
SCORE_BINS = 20
SAMPLE_CHARACTERS = 400
_VERSION = 1
_SAMPLES = 3  # of each reason and language
_SEED = 2018
_CLUSTERS, _MEMBERS = 20, 3
_SITES, _SITE_ROOM = 10, 100_000
_BATCH_ROWS = 4096
_COLUMNS = [
    "id", "text", "url", "lang", "lang_score", "lang_share", "decision", "reason", "cluster", "cluster_size",
]  # fmt: skip


def crawl_scan(folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Return the scan of an ingest's folder: the known one (or {}) while the documents are the same, else a new one.

    {basis, matrix: {language: {reason, "" for kept: {documents, bytes, characters, words}}}, train: {language: the
    same of kept documents in split `train`}, lengths: {language: characters of kept documents at SHARES}, scores:
    {language: documents in each of SCORE_BINS of 0..1}, sites: {language: {known, slack, most: [[site, characters,
    documents]]}}, clusters: [{cluster, size, fates, members}], cluster_sizes: {documents: clusters}, unspaced:
    [languages], samples: {reason: {language: [{id, url, characters, text, ...}]}}}. Raises InputError where no
    documents are.
    """
    splits = sorted(path.parent for path in folder.glob(f"*/{MANIFEST_NAME}"))
    if not splits:
        do = "name the folder of a finished ingest"
        raise InputError(f"{folder} holds no documents", found="no manifest.json in its folders", do=do)
    basis = fingerprint([_VERSION, {split.name: digest_file(split / MANIFEST_NAME) for split in splits}])
    if known.get("basis") == basis:
        return known
    scan = _Scan()
    for split in splits:
        for batch in _batches(split):
            scan.add(batch, split.name)
    return {"basis": basis, **scan.result()}


def _batches(split: Path) -> Iterator[pa.RecordBatch]:
    for part in read_manifest(split).parts:
        with pq.ParquetFile(split / part["name"]) as file:
            yield from file.iter_batches(_BATCH_ROWS, columns=_COLUMNS)


@dataclass
class _Scan:
    """What is gathered; a pair names a language and a reason, "" for kept."""

    matrix: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    train: dict[str, np.ndarray] = field(default_factory=dict)
    lengths: dict[str, Lengths] = field(default_factory=dict)
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    sites: dict[str, Heaviest] = field(default_factory=dict)
    cluster_sizes: Counter[int] = field(default_factory=Counter)
    clusters: LargestClusters = field(default_factory=lambda: LargestClusters(_CLUSTERS, _MEMBERS))
    samples: Samples = field(default_factory=lambda: Samples(_SAMPLES, _SEED))

    def add(self, batch: pa.RecordBatch, split: str) -> None:
        """Count a batch of documents of one split."""
        text = batch.column("text")
        blanks = pc.add(pc.count_substring(text, " "), pc.count_substring(text, "\n"))
        characters = pc.utf8_length(text).to_numpy()
        words = np.where(characters > 0, blanks.to_numpy() + 1, 0)
        sizes = np.stack([np.ones(len(text), np.int64), pc.binary_length(text).to_numpy(), characters, words], axis=1)
        kept = pc.equal(batch.column("decision"), KEEP)
        reasons = pc.if_else(kept, "", batch.column("reason"))
        rows = _Rows(batch, reasons.to_pylist(), batch.column("lang").to_pylist(), sizes)
        for pair, mine in rows.by_pair().items():
            self.matrix[pair] = self.matrix.get(pair, 0) + sizes[mine].sum(axis=0)
            if not pair[1]:
                self._add_kept(pair[0], sizes[mine], split)
        self._add_scores(rows)
        self._add_rows(rows)

    def result(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        languages = sorted({language for language, _ in self.matrix})
        of = {code: sorted(r for some, r in self.matrix if some == code) for code in languages}
        reasons = sorted({reason for _, reason in self.matrix})
        return {
            "matrix": {code: {r: _named(self.matrix[code, r]) for r in of[code]} for code in languages},
            "train": {code: _named(self.train[code]) for code in sorted(self.train)},
            "lengths": {code: self.lengths[code].percentiles(SHARES) for code in sorted(self.lengths)},
            "scores": {code: self.scores[code].tolist() for code in sorted(self.scores)},
            "sites": {code: _sites(self.sites[code]) for code in sorted(self.sites)},
            "cluster_sizes": {str(size): n // size for size, n in sorted(self.cluster_sizes.items())},
            "clusters": [
                {"cluster": name, "size": one.size, "fates": dict(sorted(one.fates.items())),
                 "members": [member for *_, member in one.members]}
                for name, one in self.clusters.largest()
            ],
            "unspaced": [code for code in languages if self._is_unspaced(code)],
            "samples": {r: {code: self.samples.of((code, r)) for code in languages if r in of[code]} for r in reasons},
        }  # fmt: skip

    def _add_kept(self, language: str, sizes: np.ndarray, split: str) -> None:
        self.lengths.setdefault(language, Lengths()).add(sizes[:, 2])
        if split == "train":
            self.train[language] = self.train.get(language, 0) + sizes.sum(axis=0)

    def _add_scores(self, rows: _Rows) -> None:
        scores = rows.batch.column("lang_score").to_numpy()
        places = np.minimum((scores * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
        languages = np.array(rows.languages)
        for code in sorted(set(rows.languages) - {""}):
            counts = np.bincount(places[languages == code], minlength=SCORE_BINS)
            self.scores[code] = self.scores.get(code, 0) + counts

    def _add_rows(self, rows: _Rows) -> None:
        names = ("id", "url", "cluster", "cluster_size")
        columns = (rows.batch.column(name).to_pylist() for name in names)
        for row, (key, url, cluster, size) in enumerate(zip(*columns, strict=True)):
            language, reason = rows.languages[row], rows.reasons[row]
            self.samples.add((language, reason), key, lambda row=row: rows.sample(row))  # type: ignore[misc]
            if not reason:
                site = self.sites.setdefault(language, Heaviest(_SITE_ROOM))
                site.add(site_of(url), int(rows.sizes[row, 2]))
            if cluster:
                self.cluster_sizes[size] += 1
                self.clusters.add(cluster, size, (key, reason), lambda row=row: rows.sample(row))  # type: ignore[misc]

    def _is_unspaced(self, language: str) -> bool:
        some = self.samples.of((language, ""))
        return 2 * sum(is_unspaced(sample["text"]) for sample in some) > len(some)


@dataclass(frozen=True)
class _Rows:
    """A batch, with the columns that are gone through; sizes (n, 4): documents, bytes, characters, words."""

    batch: pa.RecordBatch
    reasons: list[str]
    languages: list[str]
    sizes: np.ndarray

    def by_pair(self) -> dict[tuple[str, str], list[int]]:
        """The rows of each language and reason."""
        out: dict[tuple[str, str], list[int]] = {}
        for row, pair in enumerate(zip(self.languages, self.reasons, strict=True)):
            out.setdefault(pair, []).append(row)
        return out

    def sample(self, row: int) -> dict[str, Any]:
        """What is shown of a document."""
        values = {name: self.batch.column(name)[row].as_py() for name in ("id", "url", "lang_score", "lang_share")}
        text = self.batch.column("text")[row].as_py()[:SAMPLE_CHARACTERS]
        facts = {"lang": self.languages[row], "reason": self.reasons[row], "characters": int(self.sizes[row, 2])}
        return {**values, **facts, "text": text}


def _named(sizes: np.ndarray) -> dict[str, int]:
    return dict(zip(("documents", "bytes", "characters", "words"), map(int, sizes), strict=True))


def _sites(found: Heaviest) -> dict[str, Any]:
    return {"known": len(found), "slack": found.slack, "most": [list(one) for one in found.most(_SITES)]}
