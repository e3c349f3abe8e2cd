"""Documents: one text with an id each, kept in Parquet with the decision about it (DESIGN section 5).

A document folder holds `part-00000.parquet ...` (zstd) and `manifest.json`, written last. A row group is one work item:
the piece of input that one actor takes at a time, named by the digest of its content.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from ulmfit_dist.corpus.records import split_labels
from ulmfit_dist.corpus.sealed import check_format, compare_file, damaged, read_sealed, write_sealed
from ulmfit_dist.files import atomic_path, digest_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from ulmfit_dist.errors import DigestError

MANIFEST_NAME = "manifest.json"
DOCUMENTS_FORMAT = 2
KEEP, DROP = "keep", "drop"
_WHAT = "a document folder"
# Short documents cost more memory as objects than their text: of 30 characters each, 64 MB of text would be 1 GB.
MAX_ITEM_ROWS = 200_000
# A part is what one worker of an ingest writes at a time.
ROW_GROUPS_PER_PART = 4
_ZSTD_LEVEL = 3
DOCUMENT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("url", pa.string()),
        ("date", pa.string()),
        ("lang", pa.string()),
        ("lang_score", pa.float64()),
        ("source", pa.string()),
        ("decision", pa.string()),
        ("reason", pa.string()),
        ("cluster", pa.string()),
        ("label", pa.string()),
        ("lang_share", pa.float64()),
        ("cluster_size", pa.int32()),
    ]
)
_REPEATING = ["lang", "decision", "reason", "label"]


@dataclass(frozen=True, slots=True)
class Document:
    """One text. `id`: 32 hex digits; `source`: "file name#record key"; `decision`: keep or drop, with `reason`.

    `lang`: ISO 639-1 where it has a code, else 639-3, `und` when unknown, "" when never looked at; `lang_score` in
    0..1 and `lang_share` the share of its lines in it; `cluster`: id of the document kept of `cluster_size` near-
    duplicates, "" when it is alone; `label` is None in an unlabelled corpus. `fold`, of a cross-validation, decides on
    the split when it is read, and is not written.
    """

    id: str
    text: str
    url: str = ""
    date: str = ""
    lang: str = ""
    lang_score: float = 0.0
    source: str = ""
    decision: str = KEEP
    reason: str = ""
    cluster: str = ""
    label: str | None = None
    lang_share: float = 0.0
    cluster_size: int = 1
    fold: str = ""


@dataclass(frozen=True)
class DocumentsManifest:
    """What a document folder holds. `rows` counts every document, `kept` and `characters` (code points) the kept ones.

    `parts`: [{name, bytes, xxh3_128, row_groups: [{rows, kept, characters, xxh3_128}]}]; a row group's digest covers
    id, label and text of its kept documents. `decisions`: {"keep": n, "drop:<reason>": n}. `label_names`: what the
    values of a label are called, none in an unlabelled corpus; of several the values are joined (`split_labels`).
    """

    format: int
    rows: int
    kept: int
    characters: int
    parts: list[dict[str, Any]]
    decisions: dict[str, int]
    label_names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class WorkItem:
    """The piece of input that one actor takes at a time: one row group. Counts are of kept documents."""

    index: int
    path: str
    row_group: int
    rows: int
    characters: int
    digest: str


def document_id(source: str, key: str) -> str:
    """xxh3_128 of the source's name and the record's key in it, 32 hex digits; never of an absolute path."""
    return str(xxhash.xxh3_128_hexdigest(f"{source}\0{key}".encode("utf-8", "surrogatepass")))


class PartWriter:
    """Writes one part of a document folder, a table of DOCUMENT_SCHEMA for each of its row groups, and describes it.

    A context manager; `description` (of DocumentsManifest.parts) and `decisions` are whole after it closed without
    error. Equal tables give equal bytes.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._path = folder / f"part-{number:05d}.parquet"
        self.description: dict[str, Any] = {"name": self._path.name, "bytes": 0, "xxh3_128": "", "row_groups": []}
        self.decisions: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._handle = atomic_path(self._path)
        options = {"compression": "zstd", "compression_level": _ZSTD_LEVEL, "use_dictionary": _REPEATING}
        self._writer = pq.ParquetWriter(self._handle.__enter__(), DOCUMENT_SCHEMA, **options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._handle.__exit__(kind, error, trace)
        if kind is None:
            self.description.update(bytes=self._path.stat().st_size, xxh3_128=digest_file(self._path))

    def add(self, documents: pa.Table) -> None:
        """Append a row group."""
        # Where a column's chunks end shows in Parquet's pages: one chunk, one result.
        documents = documents.combine_chunks()
        self._writer.write_table(documents, row_group_size=max(1, documents.num_rows))
        self.description["row_groups"].append(_describe(documents))
        for decision, reason in zip(
            *(documents.column(name).to_pylist() for name in ("decision", "reason")), strict=True
        ):
            self.decisions[decision if decision == KEEP else f"{DROP}:{reason}"] += 1


def document_batch(documents: Sequence[Document]) -> pa.RecordBatch:
    """Return documents as rows of DOCUMENT_SCHEMA."""
    columns = [pa.array([getattr(d, one.name) for d in documents], one.type) for one in DOCUMENT_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=DOCUMENT_SCHEMA)


def write_manifest(
    folder: Path, parts: list[dict[str, Any]], decisions: Mapping[str, int], label_names: Sequence[str] = ()
) -> DocumentsManifest:
    """Write the manifest of a folder whose parts are written, and so make it a document folder."""
    groups = [group for part in parts for group in part["row_groups"]]
    rows, kept, characters = (sum(group[key] for group in groups) for key in ("rows", "kept", "characters"))
    ordered = dict(sorted(decisions.items()))
    manifest = DocumentsManifest(DOCUMENTS_FORMAT, rows, kept, characters, parts, ordered, list(label_names))
    write_sealed(folder / MANIFEST_NAME, asdict(manifest))
    return manifest


def write_documents(
    folder: Path, documents: Iterable[Document], item_characters: int, label_names: Sequence[str] = ("label",)
) -> DocumentsManifest:
    """Write a whole document folder; no document is legal. Holds one row group in memory.

    A row group closes once it holds `item_characters` code points, or MAX_ITEM_ROWS documents. `label_names`: recorded
    where a document has a label.
    """
    parts: list[dict[str, Any]] = []
    decisions: Counter[str] = Counter()
    labelled = False
    groups = _row_groups(documents, item_characters)
    while first := next(groups, None):
        with PartWriter(folder, len(parts)) as part:
            for group in chain([first], islice(groups, ROW_GROUPS_PER_PART - 1)):
                part.add(pa.Table.from_batches([document_batch(group)]))
                labelled = labelled or any(document.label is not None for document in group)
        parts.append(part.description)
        decisions += part.decisions
    return write_manifest(folder, parts, decisions, label_names if labelled else ())


def read_manifest(folder: Path) -> DocumentsManifest:
    """Read a folder's manifest; InputError when it is not a document folder, DigestError when it is damaged."""
    value = read_sealed(folder / MANIFEST_NAME, _WHAT)
    check_format(folder / MANIFEST_NAME, value.get("format"), DOCUMENTS_FORMAT)
    return DocumentsManifest(**value)


def read_documents(folder: Path, decision: str | None = KEEP) -> Iterator[Document]:
    """Yield the documents in order, those of one decision or (None) all; one row group in memory.

    Raises InputError, or DigestError when a row group is not what the manifest says.
    """
    for part in read_manifest(folder).parts:
        for index, group in enumerate(part["row_groups"]):
            documents = _read_row_group(folder / part["name"], index)
            _check_content(folder / part["name"], documents, group["xxh3_128"])
            yield from (document for document in documents if decision in (None, document.decision))


def read_labels(folder: Path) -> Iterator[tuple[str, ...]]:
    """Yield (document id, a value for each of the manifest's label_names) of the kept documents in order.

    A document without a label has "" in each.
    """
    count = len(read_manifest(folder).label_names)
    for document in read_documents(folder):
        yield document.id, *split_labels(document.label or "", count)


def work_items(folder: Path) -> list[WorkItem]:
    """Return the row groups that hold kept documents, in order, numbered from 0."""
    out: list[WorkItem] = []
    for part in read_manifest(folder).parts:
        for row_group, group in enumerate(part["row_groups"]):
            if group["kept"]:
                path = str(folder / part["name"])
                counts = group["kept"], group["characters"]
                out.append(WorkItem(len(out), path, row_group, *counts, digest=group["xxh3_128"]))
    return out


def read_item(item: WorkItem) -> list[Document]:
    """Return the kept documents of a work item; DigestError when they are not what the manifest promised."""
    documents = _read_row_group(Path(item.path), item.row_group)
    _check_content(Path(item.path), documents, item.digest)
    return [document for document in documents if document.decision == KEEP]


def verify_documents(folder: Path) -> list[DigestError]:
    """Re-hash every part of a document folder; one error for each bad file."""
    parts = read_manifest(folder).parts
    checks = (compare_file(folder / part["name"], part["bytes"], part["xxh3_128"]) for part in parts)
    return [error for error in checks if error is not None]


def _row_groups(documents: Iterable[Document], item_characters: int) -> Iterator[list[Document]]:
    pending: list[Document] = []
    characters = 0
    for document in documents:
        pending.append(document)
        characters += len(document.text)
        if characters >= item_characters or len(pending) == MAX_ITEM_ROWS:
            yield pending
            pending, characters = [], 0
    if pending:
        yield pending


def _describe(documents: pa.Table) -> dict[str, Any]:
    kept = documents.filter(pc.equal(documents.column("decision"), KEEP))
    characters = pc.sum(pc.utf8_length(kept.column("text"))).as_py() or 0
    return {"rows": documents.num_rows, "kept": kept.num_rows, "characters": characters, "xxh3_128": _digest(kept)}


def _digest(kept: pa.Table) -> str:
    """The content digest of a table, of which no more than a batch is made into objects."""
    columns = (batch.to_pydict() for batch in kept.select(["id", "label", "text"]).to_batches(max_chunksize=1024))
    return _content_digest(row for c in columns for row in zip(c["id"], c["label"], c["text"], strict=True))


def _content_digest(kept: Iterable[tuple[str, str | None, str]]) -> str:
    state = xxhash.xxh3_128()
    for identity, label, document in kept:
        for text in (identity, "" if label is None else f"={label}", document):
            data = text.encode()
            state.update(len(data).to_bytes(8, "little"))
            state.update(data)
    return str(state.hexdigest())


def _check_content(path: Path, documents: list[Document], expected: str) -> None:
    kept = (document for document in documents if document.decision == KEEP)
    found = _content_digest((document.id, document.label, document.text) for document in kept)
    if found != expected:
        raise damaged(path, f"content digest {found}, expected {expected}")


def _read_row_group(path: Path, row_group: int) -> list[Document]:
    try:
        with pq.ParquetFile(path) as file:
            table = file.read_row_group(row_group, columns=DOCUMENT_SCHEMA.names)
        columns = [table.column(name).to_pylist() for name in DOCUMENT_SCHEMA.names]
    except (OSError, pa.ArrowException, IndexError, KeyError, UnicodeDecodeError) as error:
        raise damaged(path, str(error).partition("\n")[0]) from error
    return [Document(*row) for row in zip(*columns, strict=True)]
