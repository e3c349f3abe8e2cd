"""The manifest of a token stream: the ordered shards, what they hold, and the digest of every file.

It is written last; a folder without it is not a token stream.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ulmfit_dist.corpus.sealed import check_format, damaged, read_sealed, write_sealed
from ulmfit_dist.corpus.shard import ShardReceipt, open_shard
from ulmfit_dist.errors import DataError
from ulmfit_dist.files import atomic_path, digest_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ulmfit_dist.tokenization.tokenizer import Tokenizer

MANIFEST_NAME = "manifest.json"
LABELS_NAME = "labels.parquet"
STREAM_FORMAT = 1
_WHAT = "a token stream"


@dataclass(frozen=True)
class StreamManifest:
    """What a token stream holds. Totals are sums over the shards; `unknown_bits` in bits.

    `shards`: receipts in stream order; `labels`: {name, bytes, xxh3_128} of labels.parquet, or None when unlabelled.
    """

    format: int
    tokenizer_fingerprint: str
    unit: str
    vocab_size: int
    pad_id: int
    tokens: int
    documents: int
    characters: int
    unknown: int
    unknown_bits: float
    shards: tuple[ShardReceipt, ...]
    labels: dict[str, Any] | None


def write_manifest(
    folder: Path,
    receipts: Sequence[ShardReceipt],
    tokenizer: Tokenizer,
    labels: Iterable[tuple[str, str]] | None = None,
) -> StreamManifest:
    """Write a stream's manifest, and so make it a stream: `receipts` in the order of the stream.

    labels: (document id, label) of every document in stream order (`documents.read_labels`); written to labels.parquet.
    Raises DataError when a receipt is of another tokenizer, or the labels are not of these documents in this order.
    """
    foreign = [receipt.name for receipt in receipts if receipt.tokenizer_fingerprint != tokenizer.fingerprint]
    if foreign:
        do = f"delete {folder} and tokenize again"
        raise DataError(f"shards of another tokenizer in {folder}", found=", ".join(foreign), do=do)
    described = None if labels is None else _write_labels(folder, receipts, labels)
    manifest = StreamManifest(
        format=STREAM_FORMAT,
        tokenizer_fingerprint=tokenizer.fingerprint,
        unit=tokenizer.unit,
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        tokens=sum(receipt.tokens for receipt in receipts),
        documents=sum(receipt.documents for receipt in receipts),
        characters=sum(receipt.characters for receipt in receipts),
        unknown=sum(receipt.unknown for receipt in receipts),
        unknown_bits=math.fsum(receipt.unknown_bits for receipt in receipts),
        shards=tuple(receipts),
        labels=described,
    )
    write_sealed(folder / MANIFEST_NAME, _as_json(manifest))
    return manifest


def read_manifest(folder: Path) -> StreamManifest:
    """Read a stream's manifest; InputError when the folder is no token stream, DigestError when it is damaged."""
    value = read_sealed(folder / MANIFEST_NAME, _WHAT)
    check_format(folder / MANIFEST_NAME, value.get("format"), STREAM_FORMAT)
    shards = tuple(ShardReceipt(**receipt) for receipt in value.pop("shards"))
    return StreamManifest(**value, shards=shards)


def read_stream_labels(folder: Path) -> list[str] | None:
    """Return the label of every document in stream order, None for an unlabelled stream."""
    manifest = read_manifest(folder)
    if manifest.labels is None:
        return None
    path = folder / manifest.labels["name"]
    try:
        return list(pq.read_table(path, columns=["label"]).column("label").to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, str(error)) from error


def _as_json(manifest: StreamManifest) -> dict[str, Any]:
    value = asdict(manifest)
    value["shards"] = list(value["shards"])
    return value


def _write_labels(folder: Path, receipts: Sequence[ShardReceipt], labels: Iterable[tuple[str, str]]) -> dict[str, Any]:
    pairs = list(labels)
    ids = [open_shard(folder / receipt.name, receipt).doc_id for receipt in receipts]
    in_stream = [bytes(row).hex() for row in np.concatenate([np.zeros((0, 16), np.uint8), *ids])]
    if [identity for identity, _ in pairs] != in_stream:
        found = f"{len(pairs)} labels for {len(in_stream)} documents, or another order"
        raise DataError(f"the labels are not of the documents in {folder}", found=found, do="tokenize again")
    table = pa.table({"id": in_stream, "label": [label for _, label in pairs]})
    path = folder / LABELS_NAME
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return {"name": LABELS_NAME, "bytes": path.stat().st_size, "xxh3_128": digest_file(path)}
