"""Documents: one text with an id each, kept in Parquet with the decision about it (DESIGN section 5).

A document folder holds `part-00000.parquet ...` (zstd) and `manifest.json`, written last. A row group is one work item:
the piece of input that one actor takes at a time, named by the digest of its content.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from ulmfit_dist.corpus.sealed import check_format, compare_file, damaged, read_sealed, write_sealed
from ulmfit_dist.files import atomic_path, digest_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from ulmfit_dist.errors import DigestError

MANIFEST_NAME = "manifest.json"
DOCUMENTS_FORMAT = 1
KEEP, DROP = "keep", "drop"
_WHAT = "a document folder"
_ROW_GROUPS_PER_PART = 64
_ZSTD_LEVEL = 3
_SCHEMA = pa.schema(
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
    ]
)
_REPEATING = ["lang", "decision", "reason", "label"]


@dataclass(frozen=True, slots=True)
class Document:
    """One text. `id`: 32 hex digits; `source`: "file name#record key"; `decision`: keep or drop, with `reason`.

    `lang`: ISO 639-1 where it has a code, else 639-3, `und` when unknown, "" when never looked at; `lang_score` in
    0..1; `label` is None in an unlabelled corpus.
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


@dataclass(frozen=True)
class DocumentsManifest:
    """What a document folder holds. `rows` counts every document, `kept` and `characters` (code points) the kept ones.

    `parts`: [{name, bytes, xxh3_128, row_groups: [{rows, kept, characters, xxh3_128}]}]; a row group's digest covers
    id, label and text of its kept documents. `decisions`: {"keep": n, "drop:<reason>": n}.
    """

    format: int
    rows: int
    kept: int
    characters: int
    parts: list[dict[str, Any]]
    decisions: dict[str, int]


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


class DocumentWriter:
    """Writes a document folder as documents come; holds one row group in memory.

    Use as a context manager; `manifest` is there after it closed without error. Equal documents give equal bytes.
    """

    def __init__(self, folder: Path, item_characters: int) -> None:
        self._folder, self._item_characters = folder, item_characters
        self._pending: list[Document] = []
        self._pending_characters = 0
        self._parts: list[dict[str, Any]] = []
        self._part: tuple[AbstractContextManager[Path], pq.ParquetWriter] | None = None
        self._decisions: Counter[str] = Counter()
        self.manifest: DocumentsManifest | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        elif self._part is not None:
            handle, writer = self._part
            writer.close()
            handle.__exit__(kind, error, trace)

    def add(self, document: Document) -> None:
        """Append one document; a row group is closed once it holds `item_characters` of text."""
        self._decisions[document.decision if document.decision == KEEP else f"{DROP}:{document.reason}"] += 1
        self._pending.append(document)
        self._pending_characters += len(document.text)
        if self._pending_characters >= self._item_characters:
            self._close_row_group()

    def _finish(self) -> None:
        self._close_row_group()
        self._close_part()
        groups = [group for part in self._parts for group in part["row_groups"]]
        rows, kept, characters = (sum(group[key] for group in groups) for key in ("rows", "kept", "characters"))
        decisions = dict(sorted(self._decisions.items()))
        self.manifest = DocumentsManifest(DOCUMENTS_FORMAT, rows, kept, characters, self._parts, decisions)
        write_sealed(self._folder / MANIFEST_NAME, asdict(self.manifest))

    def _close_row_group(self) -> None:
        if not self._pending:
            return
        if self._part is None:
            self._open_part()
        assert self._part is not None
        columns = [pa.array([getattr(d, name) for d in self._pending], kind) for name, kind in _columns()]
        self._part[1].write_table(pa.Table.from_arrays(columns, schema=_SCHEMA), row_group_size=len(self._pending))
        self._parts[-1]["row_groups"].append(_describe(self._pending))
        self._pending, self._pending_characters = [], 0
        if len(self._parts[-1]["row_groups"]) == _ROW_GROUPS_PER_PART:
            self._close_part()

    def _open_part(self) -> None:
        name = f"part-{len(self._parts):05d}.parquet"
        handle = atomic_path(self._folder / name)
        options = {"compression": "zstd", "compression_level": _ZSTD_LEVEL, "use_dictionary": _REPEATING}
        self._part = handle, pq.ParquetWriter(handle.__enter__(), _SCHEMA, **options)
        self._parts.append({"name": name, "bytes": 0, "xxh3_128": "", "row_groups": []})

    def _close_part(self) -> None:
        if self._part is None:
            return
        handle, writer = self._part
        writer.close()
        handle.__exit__(None, None, None)
        self._part = None
        path = self._folder / self._parts[-1]["name"]
        self._parts[-1].update(bytes=path.stat().st_size, xxh3_128=digest_file(path))


def write_documents(folder: Path, documents: Iterable[Document], item_characters: int) -> DocumentsManifest:
    """Write a whole document folder, row groups closed at `item_characters` code points; no document is legal."""
    with DocumentWriter(folder, item_characters) as writer:
        for document in documents:
            writer.add(document)
    assert writer.manifest is not None
    return writer.manifest


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


def read_labels(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (document id, label) of the kept documents in order; a document without a label has "" here."""
    for document in read_documents(folder):
        yield document.id, document.label or ""


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


def _columns() -> Iterator[tuple[str, pa.DataType]]:
    return ((field.name, field.type) for field in _SCHEMA)


def _describe(documents: list[Document]) -> dict[str, Any]:
    kept = [document for document in documents if document.decision == KEEP]
    characters = sum(len(document.text) for document in kept)
    return {"rows": len(documents), "kept": len(kept), "characters": characters, "xxh3_128": _content_digest(kept)}


def _content_digest(kept: Iterable[Document]) -> str:
    state = xxhash.xxh3_128()
    for document in kept:
        for text in (document.id, "" if document.label is None else f"={document.label}", document.text):
            data = text.encode()
            state.update(len(data).to_bytes(8, "little"))
            state.update(data)
    return str(state.hexdigest())


def _check_content(path: Path, documents: list[Document], expected: str) -> None:
    found = _content_digest(document for document in documents if document.decision == KEEP)
    if found != expected:
        raise damaged(path, f"content digest {found}, expected {expected}")


def _read_row_group(path: Path, row_group: int) -> list[Document]:
    try:
        with pq.ParquetFile(path) as file:
            table = file.read_row_group(row_group, columns=[field.name for field in fields(Document)])
        columns = [table.column(field.name).to_pylist() for field in fields(Document)]
    except (OSError, pa.ArrowException, IndexError, KeyError, UnicodeDecodeError) as error:
        raise damaged(path, str(error).partition("\n")[0]) from error
    return [Document(*row) for row in zip(*columns, strict=True)]
