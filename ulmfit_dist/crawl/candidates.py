"""Candidates: the documents of one piece, read as far as one piece alone allows (files: piecefiles.py).

A table's documents are decided on here, but for duplicates. A crawl's pages get their language, and leave what tells
the boilerplate of their sites and the stop words of their languages; the rest is done in cleaning.py.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import xxhash

from ulmfit_dist.corpus.documents import DROP, KEEP, Document
from ulmfit_dist.corpus.quarantine import Quarantine, Tally
from ulmfit_dist.corpus.sources import SourceReader
from ulmfit_dist.crawl.boilerplate import LineCounts, site_hash
from ulmfit_dist.crawl.folds import split_document, with_folds
from ulmfit_dist.crawl.language import (
    MULTIPLE,
    UNDETERMINED,
    Detector,
    LanguageDetector,
    ModelDetector,
    StrictDetector,
    language_share,
)
from ulmfit_dist.crawl.normalise import normalise
from ulmfit_dist.crawl.pagefiles import PageReader
from ulmfit_dist.crawl.pages import page_document
from ulmfit_dist.crawl.piecefiles import (
    HAS_WORDS,
    KEPT,
    CandidateWriter,
    are_whole,
    file_digests,
    pack_row,
    piece_path,
)
from ulmfit_dist.crawl.robots import robots_state
from ulmfit_dist.crawl.sites import site_of
from ulmfit_dist.crawl.stopwords import WordCounts
from ulmfit_dist.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ulmfit_dist.corpus.records import SourceColumns
    from ulmfit_dist.crawl.pieces import Piece
    from ulmfit_dist.crawl.settings import IngestSettings

T = TypeVar("T")

# Equal texts are compared within a split that sources name, and over all that are made here: the seed of their keys.
_ALL_SPLITS = 255
_HEAD = 20_000


class Guard(Protocol):
    """How records are gone through: `set_aside` {position in the piece: reason} are to be left out by `each`."""

    set_aside: dict[int, str]

    def each(self, documents: Iterable[T]) -> Iterator[T]:
        """Yield what is not set aside."""


class Unguarded:
    """Every record, in this process."""

    def __init__(self) -> None:
        self.set_aside: dict[int, str] = {}

    def each(self, documents: Iterable[T]) -> Iterator[T]:
        """Yield all."""
        return iter(documents)


@dataclass(frozen=True)
class PieceReceipt:
    """What a piece gave. `lost_bytes`: of its files, unreadable; `files`: {name: [bytes, xxh3_128]}.

    `charsets`: {codec: pages}, of crawled pages.
    """

    digest: str
    skipped: dict[str, int]
    lost_bytes: int
    files: dict[str, list[Any]]
    charsets: dict[str, int] = field(default_factory=dict)


class PieceReader:
    """Reads pieces into `folder`. `splits`: the names of all splits, in the order of their numbers in ROWS."""

    def __init__(self, settings: IngestSettings, splits: list[str], folder: Path) -> None:
        self._settings, self._splits, self._folder = settings, splits, folder
        self._detector: Detector | None = None

    def read(self, piece: Piece, guard: Guard, told: Callable[[int], None]) -> None:
        """Read a piece and write its files; `told` of the bytes read so far after each record."""
        survey = _Survey() if is_cleaned(self._settings, piece) else None
        with ExitStack() as stack:
            writer = stack.enter_context(CandidateWriter(self._folder, piece.index))
            path = piece_path(self._folder, piece.index, ".jsonl")
            quarantine = stack.enter_context(_PieceQuarantine(path, writer))
            reading = _Reading(piece, guard, told, quarantine)
            documents = reading.pages(self._settings) if piece.is_crawl else reading.documents(self._settings)
            for document in documents:
                if self._settings.labelled and document.label is None:
                    position = document.source.removeprefix(f"{piece.name}#")
                    quarantine.add(piece.name, position, "no label", document.text)
                elif survey is not None:
                    self._take_page(document, reading.state, survey, writer)
                else:
                    self._take(document, piece, writer)
        more = survey.save(self._folder, piece.index) if survey is not None else []
        _write_receipt(self._folder, piece, [*writer.paths, *more], quarantine, reading)

    def _take(self, document: Document, piece: Piece, writer: CandidateWriter) -> None:
        settings = self._settings
        document = replace(document, text=normalise(document.text), label=document.label if settings.labelled else None)
        named = settings.sources[piece.source].split
        split = named or split_document(document, settings)
        if document.decision == KEEP and not document.text.strip():
            document = replace(document, decision=DROP, reason="empty")
        number = self._splits.index(split)
        kept = document.decision == KEEP
        key = text_key(document.text, number if named else None) if kept else bytes(16)
        writer.add(document, pack_row(document, key, number, (HAS_WORDS | KEPT) * kept))

    def _take_page(self, document: Document, state: int, survey: _Survey, writer: CandidateWriter) -> None:
        document = replace(document, text=normalise(document.text), label=None)
        if document.decision == KEEP and document.text:
            document = self._with_language(document)
            survey.add(document)
        writer.add(document, pack_row(document, bytes(16), 0, state))

    def _with_language(self, document: Document) -> Document:
        self._detector = self._detector or make_detector(self._settings)
        language = self._detector.detect(document.text)
        share, code = 0.0, language.code
        if code != UNDETERMINED:
            share = language_share(document.text, code)
            code = code if share >= self._settings.crawl.min_language_share else MULTIPLE
        return replace(document, lang=code, lang_score=language.score, lang_share=share)


class _Survey:
    """What a piece of a crawl leaves to be counted over all pieces."""

    def __init__(self) -> None:
        self._lines, self._words = LineCounts(), WordCounts()

    def add(self, document: Document) -> None:
        if site := site_of(document.url):
            self._lines.add(site_hash(site), document.text)
        self._words.add(document.lang, document.text)

    def save(self, folder: Path, index: int) -> list[Path]:
        lines, words = piece_path(folder, index, ".lines"), piece_path(folder, index, ".words")
        self._lines.save(lines)
        write_json(words, self._words.to_json())
        return [lines, words]


def make_detector(settings: IngestSettings) -> Detector:
    """Return what tells the language of a crawl's pages."""
    crawl = settings.crawl
    if crawl.language_model:
        model = ModelDetector(Path(crawl.language_model), crawl.min_language_score)
        return StrictDetector(LanguageDetector(), model) if crawl.language_rule == "strict" else model
    return LanguageDetector(settings.languages if crawl.language_rule == "recall" else ())


def is_cleaned(settings: IngestSettings, piece: Piece) -> bool:
    """Whether a piece's documents are treated as pages of a crawl."""
    clean = settings.sources[piece.source].clean
    return clean == "yes" or (clean == "auto" and piece.is_crawl)


def text_key(text: str, split: int | None) -> bytes:
    """Return 128 bits of a text's words and of what it is compared within: a named split, or (None) all others."""
    seed = _ALL_SPLITS if split is None else split
    return bytes(xxhash.xxh3_128_digest(" ".join(text.split()).encode("utf-8", "surrogatepass"), seed=seed))


def write_lost(settings: IngestSettings, folder: Path, piece: Piece, reason: str) -> None:
    """Write the files of a piece that was given up: no document, and one record in the quarantine that names it."""
    first = piece.spans[0]
    place = first.inside or first.file.name
    position = place if first.stop is None and not first.start else f"{place}, from {first.start} to {first.stop}"
    if len(piece.spans) > 1:
        position = f"{place} to {piece.spans[-1].inside}"
    with ExitStack() as stack:
        writer = stack.enter_context(CandidateWriter(folder, piece.index))
        quarantine = stack.enter_context(_PieceQuarantine(piece_path(folder, piece.index, ".jsonl"), writer))
        quarantine.lose(piece.name, piece.size)
        quarantine.add(piece.name, position, f"reading failed: {reason}")
    more = _Survey().save(folder, piece.index) if is_cleaned(settings, piece) else []
    _write_receipt(folder, piece, [*writer.paths, *more], quarantine)


def read_receipt(folder: Path, piece: Piece) -> PieceReceipt | None:
    """Return what a piece gave; None when it is not read yet."""
    path = piece_path(folder, piece.index, ".json")
    return PieceReceipt(**read_json(path)) if path.is_file() else None


def is_read(folder: Path, piece: Piece) -> bool:
    """Whether a piece's files are there and whole; what lost bytes is read again, since they may be back."""
    receipt = read_receipt(folder, piece)
    return (
        receipt is not None
        and receipt.digest == piece.digest
        and not receipt.lost_bytes
        and are_whole(folder, receipt.files)
    )


class _Reading:
    """One reading of one piece: its records in order, those that the guard sets aside left out and written down."""

    def __init__(self, piece: Piece, guard: Guard, told: Callable[[int], None], quarantine: Tally) -> None:
        self._piece, self._guard, self._told, self._quarantine = piece, guard, told, quarantine
        self.skipped: Counter[str] = Counter()
        self.charsets: Counter[str] = Counter()
        self.state = 0  # what the page in hand asks of robots

    def documents(self, settings: IngestSettings) -> Iterator[Document]:
        prefix = f"{self._piece.name}#"
        # A fold goes with a record's place, so it is given before any record is set aside.
        documents = with_folds(self._from_spans(settings.columns), settings)
        yield from self._guarded(documents, lambda document: document.source.removeprefix(prefix))

    def pages(self, settings: IngestSettings) -> Iterator[Document]:
        reader = PageReader(self._piece.spans, self._quarantine, self._piece.name)
        # The work on a page is done after the guard has let it pass.
        for page in self._guarded(reader, lambda page: page.key):
            self.state = robots_state(page.body[:_HEAD].decode("latin-1"), page.robots)
            document, charset = page_document(page, self._piece.name, settings.crawl.extractor)
            self.charsets[charset] += bool(charset)
            yield document
            self._told(reader.bytes_read)
        self.skipped = reader.skipped

    def _from_spans(self, columns: SourceColumns) -> Iterator[Document]:
        finished = 0
        for span in self._piece.spans:
            reader = SourceReader(span, self._piece.name, columns, self._quarantine)
            for document in reader:
                yield document
                self._told(finished + reader.bytes_read)
            finished += span.size

    def _guarded(self, records: Iterable[T], position_of: Callable[[T], str]) -> Iterator[T]:
        def watched() -> Iterator[T]:
            for position, record in enumerate(islice(records, self._piece.limit)):
                if (reason := self._guard.set_aside.get(position)) is not None:
                    self._quarantine.add(self._piece.name, position_of(record), reason)
                yield record

        return self._guard.each(watched())


class _PieceQuarantine(Quarantine):
    """A piece's quarantine, which remembers how many documents came before each record."""

    def __init__(self, path: Path, writer: CandidateWriter) -> None:
        super().__init__(path)
        self._writer = writer

    def write(self, record: dict[str, Any]) -> None:
        super().write({**record, "after": self._writer.rows})


def _write_receipt(
    folder: Path, piece: Piece, files: list[Path], quarantine: Tally, reading: _Reading | None = None
) -> None:
    receipt = PieceReceipt(
        digest=piece.digest,
        skipped=dict(sorted(reading.skipped.items())) if reading else {},
        lost_bytes=quarantine.lost_bytes.total(),
        files=file_digests([*files, piece_path(folder, piece.index, ".jsonl")]),
        charsets={name: count for name, count in sorted(reading.charsets.items()) if count} if reading else {},
    )
    write_json(piece_path(folder, piece.index, ".json"), asdict(receipt))
