"""The labels of a token stream: Parquet files beside the shards, a row a document, in stream order.

The first file is labels.parquet; documents that are appended bring another one, so that none is ever rewritten.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ulmfit_dist.corpus.sealed import damaged
from ulmfit_dist.corpus.shard import open_shard
from ulmfit_dist.errors import DataError, InputError
from ulmfit_dist.files import atomic_path, digest_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ulmfit_dist.corpus.shard import ShardReceipt

DEFAULT_NAMES = ("label",)
_ID = "id"


def labels_name(number: int) -> str:
    """Return the name of a stream's label file: 0 for the first, then one for each time documents were appended."""
    return f"labels-{number:05d}.parquet" if number else "labels.parquet"


def write_labels(
    path: Path, receipts: Sequence[ShardReceipt], rows: Iterable[tuple[str, ...]], names: Sequence[str]
) -> dict[str, Any]:
    """Write the labels of the shards' documents and return what the manifest keeps: {name, bytes, xxh3_128}.

    rows: (document id, a label for each of `names`) in stream order. Raises DataError when they are not of these
    documents in this order.
    """
    if len(set(names)) < len(names) or _ID in names:
        raise InputError("label columns need different names", found=", ".join(names), do=f"rename them; not '{_ID}'")
    schema = pa.schema([(name, pa.string()) for name in (_ID, *names)])
    remaining = iter(rows)
    tables = [_table(path.parent / receipt.name, receipt, remaining, schema) for receipt in receipts]
    if next(remaining, None) is not None:
        raise _other_documents(path.parent, "more labels than documents")
    # In one chunk: where a column's chunks end shows in Parquet's pages, and so the shards would.
    table = pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return {"name": path.name, "bytes": path.stat().st_size, "xxh3_128": digest_file(path)}


def read_labels_column(folder: Path, labels: Mapping[str, Any], name: str) -> list[str]:
    """Read one label of every document from the files that a manifest lists as its `labels`.

    Raises InputError for a label that the stream does not have, DigestError for a file that cannot be read.
    """
    if name not in labels["names"]:
        found = f"'{name}', the labels are {', '.join(labels['names'])}"
        raise InputError(f"{folder} has no such label", found=found, do="name one of them")
    values: list[str] = []
    for file in labels["files"]:
        path = folder / file["name"]
        try:
            values += pq.read_table(path, columns=[name]).column(name).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise damaged(path, str(error).partition("\n")[0]) from error
    return values


def _table(path: Path, receipt: ShardReceipt, rows: Iterator[tuple[str, ...]], schema: pa.Schema) -> pa.Table:
    mine = list(islice(rows, receipt.documents))
    if any(len(row) != len(schema) for row in mine):
        raise _other_documents(path.parent, f"rows of other than {len(schema)} values")
    in_stream = open_shard(path, receipt).doc_id.tobytes()
    if b"".join(bytes.fromhex(row[0]) for row in mine) != in_stream:
        raise _other_documents(path.parent, f"another document, or another order, in {path.name}")
    columns = list(zip(*mine, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=schema)


def _other_documents(folder: Path, found: str) -> DataError:
    return DataError(f"the labels are not of the documents in {folder}", found=found, do="tokenize again")
