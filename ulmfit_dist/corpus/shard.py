"""Shards: one immutable HDF5 file of whole documents, written in one go and read through the memory map.

    tokens     (T,)    little-endian uint16 when the vocabulary fits, else uint32; contiguous, so that it can be mapped
    doc_start  (n+1,)  uint64: document i is tokens[doc_start[i] : doc_start[i + 1]]
    doc_id     (n, 16) uint8: the documents' ids

A growing HDF5 file does not survive a kill (40 of 40 unreadable) or a full disk (wrong tail, segfault at exit), and a
contiguous dataset notices no flipped bit (995 of 1,000 silently wrong): hence one call a dataset, a temporary name, and
digests of our own.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ulmfit_dist.corpus.sealed import damaged
from ulmfit_dist.errors import DataError, DigestError
from ulmfit_dist.files import atomic_path, digest_bytes, digest_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ulmfit_dist.tokenization.tokenizer import Encoded, Tokenizer

SHARD_FORMAT = 1
_DATASETS = ("tokens", "doc_start", "doc_id")
_HEADER_BYTES = 1 << 14


@dataclass(frozen=True)
class ShardReceipt:
    """What an actor tells of the shard it wrote; plain JSON values (`dataclasses.asdict`), back by `ShardReceipt(**d)`.

    `bytes` and `xxh3_128` are of the whole file; `item_digest`: digest of the work item; `characters`: code points of
    the raw texts; `unknown`: unk ids; `unknown_bits`: bits; `digests`: xxh3_128 of each dataset's bytes.
    """

    name: str
    bytes: int
    xxh3_128: str
    item_digest: str
    tokenizer_fingerprint: str
    tokens: int
    documents: int
    characters: int
    unknown: int
    unknown_bits: float
    digests: dict[str, str]


@dataclass(frozen=True)
class MappedShard:
    """A shard's arrays, views of its memory map: `tokens` (T,), `doc_start` (n+1,), `doc_id` (n, 16)."""

    tokens: np.ndarray
    doc_start: np.ndarray
    doc_id: np.ndarray


def write_shard(
    path: Path, documents: Sequence[tuple[str, Encoded]], tokenizer: Tokenizer, item_digest: str
) -> ShardReceipt:
    """Write whole documents, (document id, its encoding) in order, as one shard; no document is legal.

    Equal arguments give equal bytes. Raises DataError for an id outside the vocabulary and for a disk without room.
    """
    arrays = _arrays(documents, tokenizer)
    digests = {name: digest_bytes(array.tobytes()) for name, array in arrays.items()}
    _check_room(path.parent, sum(array.nbytes for array in arrays.values()) + _HEADER_BYTES)
    counts = {"num_tokens": len(arrays["tokens"]), "num_documents": len(documents)}
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver="latest", locking=False) as file:
        file.attrs["format"] = SHARD_FORMAT
        file.attrs["tokenizer_fingerprint"] = tokenizer.fingerprint
        file.attrs.update(counts)
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
            file.attrs[f"{name}_xxh3_128"] = digests[name]
    encoded = [encoding for _, encoding in documents]
    return ShardReceipt(
        name=path.name,
        bytes=path.stat().st_size,
        xxh3_128=digest_file(path),
        item_digest=item_digest,
        tokenizer_fingerprint=tokenizer.fingerprint,
        tokens=counts["num_tokens"],
        documents=counts["num_documents"],
        characters=sum(encoding.characters for encoding in encoded),
        unknown=sum(encoding.unknown for encoding in encoded),
        unknown_bits=math.fsum(encoding.unknown_bits for encoding in encoded),
        digests=digests,
    )


def open_shard(path: Path, receipt: ShardReceipt) -> MappedShard:
    """Map a shard after checking size and header against its receipt; takes no lock, keeps no file open.

    Raises DigestError naming the file when it is missing, cut, foreign or unreadable. Payloads are not hashed here.
    """
    size = path.stat().st_size if path.is_file() else None
    if size != receipt.bytes:
        raise damaged(path, "no file" if size is None else f"{size} bytes, expected {receipt.bytes}")
    try:
        with h5py.File(path, "r", locking=False) as file:
            _check_header(path, dict(file.attrs), receipt)
            tokens, doc_start, doc_id = (_map(path, file[name]) for name in _DATASETS)
    except DigestError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        # h5py turns a broken header into any of these.
        raise damaged(path, str(error)) from error
    _check_shapes(path, (tokens, doc_start, doc_id), receipt)
    return MappedShard(tokens, doc_start, doc_id)


def payload_error(path: Path, receipt: ShardReceipt) -> DigestError | None:
    """Re-hash the datasets of a shard against its header and receipt; the first difference, else None."""
    try:
        shard = open_shard(path, receipt)
    except DigestError as error:
        return error
    for name, expected in receipt.digests.items():
        array = getattr(shard, name)
        found = digest_bytes(array.tobytes())
        if found != expected:
            return damaged(path, f"digest of {name} {found}, expected {expected}")
    return None


def _arrays(documents: Sequence[tuple[str, Encoded]], tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    ids = [encoding.ids for _, encoding in documents]
    tokens = np.concatenate(ids) if ids else np.zeros(0, dtype)
    if len(tokens) and int(tokens.max()) >= tokenizer.vocab_size:
        found = f"id {int(tokens.max())} for a vocabulary of {tokenizer.vocab_size}"
        raise DataError("a token id is outside the vocabulary", found=found, do="tokenize with the matching tokenizer")
    doc_start = np.zeros(len(ids) + 1, "<u8")
    np.cumsum([len(one) for one in ids], out=doc_start[1:])
    doc_id = np.frombuffer(b"".join(bytes.fromhex(identity) for identity, _ in documents), np.uint8)
    return {"tokens": tokens.astype(dtype), "doc_start": doc_start, "doc_id": doc_id.reshape(len(ids), 16)}


def _check_room(folder: Path, needed: int) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        found = f"{free:,} bytes free, {needed:,} needed"
        raise DataError(f"no space left for a shard in {folder}", found=found, do="free space, then run again")


def _check_header(path: Path, header: dict[str, Any], receipt: ShardReceipt) -> None:
    expected: dict[str, object] = {
        "format": SHARD_FORMAT,
        "tokenizer_fingerprint": receipt.tokenizer_fingerprint,
        "num_tokens": receipt.tokens,
        "num_documents": receipt.documents,
        **{f"{name}_xxh3_128": digest for name, digest in receipt.digests.items()},
    }
    for key, value in expected.items():
        if header.get(key) != value:
            raise damaged(path, f"{key} {header.get(key)!s}, expected {value}")


def _map(path: Path, dataset: Any) -> np.ndarray:
    if dataset.size == 0:
        # HDF5 allocates nothing for it, so that there is no offset to map.
        return np.zeros(dataset.shape, dataset.dtype)
    offset = dataset.id.get_offset()
    if offset is None:
        raise damaged(path, f"{dataset.name} is not contiguous")
    # A plain view: slicing the memmap object costs 182 us a 64 x 70 window, slicing the view 50.
    return np.asarray(np.memmap(path, dataset.dtype, "r", offset, dataset.shape))


def _check_shapes(path: Path, arrays: tuple[np.ndarray, ...], receipt: ShardReceipt) -> None:
    tokens, doc_start, doc_id = arrays
    shapes = tokens.shape, doc_start.shape, doc_id.shape
    expected = (receipt.tokens,), (receipt.documents + 1,), (receipt.documents, 16)
    if shapes != expected:
        raise damaged(path, f"shapes {shapes}, expected {expected}")
    starts = doc_start.astype(np.int64)
    if starts[0] != 0 or starts[-1] != receipt.tokens or (np.diff(starts) < 0).any():
        raise damaged(path, "doc_start does not cut the tokens into documents")
