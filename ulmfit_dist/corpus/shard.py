"""Shards: one immutable HDF5 file of whole documents, written in one go and read through the memory map.

    tokens     (T,)    little-endian uint16 when the vocabulary fits, else uint32; contiguous, so that it can be mapped
    doc_start  (n+1,)  uint64: document i is tokens[doc_start[i] : doc_start[i + 1]]
    doc_id     (n, 16) uint8: the documents' ids

A growing HDF5 file does not survive a kill (40 of 40 unreadable) or a full disk (wrong tail, segfault at exit), and a
contiguous dataset notices no flipped bit (995 of 1,000 silently wrong): hence one call a dataset, a temporary name, and
digests of our own.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ulmfit_dist.corpus.lengths import length_histogram
from ulmfit_dist.corpus.sealed import damaged
from ulmfit_dist.errors import DataError, DigestError
from ulmfit_dist.files import digest_bytes, digest_file, write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ulmfit_dist.tokenization.tokenizer import Encoded, Tokenizer

SHARD_FORMAT = 2
_DATASETS = ("tokens", "doc_start", "doc_id")
_HEADER_BYTES = 1 << 14
# What h5py and numpy raise for a broken file: any of these, and OverflowError for a count that no machine has.
_BROKEN = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)
# Bits of unknown words are counted in parts of 2^-20: whole numbers add up to the same total however they are grouped.
BIT_PARTS = 1 << 20


@dataclass(frozen=True)
class ShardReceipt:
    """What an actor tells of the shard it wrote; plain JSON values (`dataclasses.asdict`), back by `ShardReceipt(**d)`.

    `bytes` and `xxh3_128` are of the whole file; `item_digest`: digest of the work item; `characters` and `words`: code
    points and stretches between white space of the raw texts; `unknown`: unk ids; `unknown_bits`: bits, a multiple of
    2^-20; `lengths`: `lengths.length_histogram`; `shortest` and `longest`: tokens of a document, 0 of no documents;
    `quarantined`: {id, reason} of each document that was set aside; `digests`: xxh3_128 of each dataset's bytes.
    """

    name: str
    bytes: int
    xxh3_128: str
    item_digest: str
    tokenizer_fingerprint: str
    tokens: int
    documents: int
    characters: int
    words: int
    unknown: int
    unknown_bits: float
    lengths: dict[str, int]
    shortest: int
    longest: int
    quarantined: list[dict[str, str]]
    digests: dict[str, str]


@dataclass(frozen=True)
class MappedShard:
    """A shard's arrays, views of its memory map: `tokens` (T,), `doc_start` (n+1,), `doc_id` (n, 16)."""

    tokens: np.ndarray
    doc_start: np.ndarray
    doc_id: np.ndarray


def write_shard(
    path: Path,
    documents: Sequence[tuple[str, Encoded]],
    tokenizer: Tokenizer,
    item_digest: str,
    quarantined: Sequence[tuple[str, str]] = (),
) -> ShardReceipt:
    """Write whole documents, (document id, its encoding) in order, as one shard; no document is legal.

    quarantined: (document id, reason) of the work item's documents that are not in the shard; kept in the receipt.
    Equal arguments give equal bytes. Raises DataError for an id outside the vocabulary, OSError for a full disk.
    """
    arrays = _arrays(documents, tokenizer)
    digests = {name: digest_bytes(array.data) for name, array in arrays.items()}
    counts = {"num_tokens": len(arrays["tokens"]), "num_documents": len(documents)}
    # Made in memory: where the disk is full, HDF5 itself leaves a wrong file or ends the process.
    image = io.BytesIO()
    with h5py.File(image, "w", libver="latest") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, track_times=False)
        header = {"format": SHARD_FORMAT, **counts, **_header_texts(tokenizer.fingerprint, digests)}
        for key, value in header.items():
            # Texts of fixed length: HDF5 keeps others in a heap without checksum, where a flipped bit makes it hang.
            file.attrs[key] = np.bytes_(value.encode()) if isinstance(value, str) else value
    write_bytes(path, image.getbuffer())
    encoded = [encoding for _, encoding in documents]
    lengths = np.diff(arrays["doc_start"]).astype(np.int64)
    return ShardReceipt(
        name=path.name,
        bytes=path.stat().st_size,
        xxh3_128=digest_file(path),
        item_digest=item_digest,
        tokenizer_fingerprint=tokenizer.fingerprint,
        tokens=counts["num_tokens"],
        documents=counts["num_documents"],
        characters=sum(encoding.characters for encoding in encoded),
        words=sum(encoding.words for encoding in encoded),
        unknown=sum(encoding.unknown for encoding in encoded),
        unknown_bits=sum(round(encoding.unknown_bits * BIT_PARTS) for encoding in encoded) / BIT_PARTS,
        lengths=length_histogram(lengths),
        shortest=int(lengths.min(initial=lengths.max(initial=0))),
        longest=int(lengths.max(initial=0)),
        quarantined=[{"id": identity, "reason": reason} for identity, reason in quarantined],
        digests=digests,
    )


def open_shard(path: Path, receipt: ShardReceipt) -> MappedShard:
    """Map a shard after checking size and header against its receipt; takes no lock, keeps no HDF5 file open.

    Raises DigestError naming the file when it is missing, cut, foreign or unreadable. Payloads are not hashed here.
    """
    size = path.stat().st_size if path.is_file() else None
    if size != receipt.bytes:
        raise damaged(path, "no file" if size is None else f"{size} bytes, expected {receipt.bytes}")
    try:
        with h5py.File(path, "r", locking=False) as file:
            _check_header(path, _header(file), receipt)
            tokens, doc_start, doc_id = _map(path, [file[name] for name in _DATASETS])
    except DigestError:
        raise
    except _BROKEN as error:
        raise damaged(path, str(error)) from error
    _check_shapes(path, (tokens, doc_start, doc_id), receipt)
    return MappedShard(tokens, doc_start, doc_id)


def describe_damage(path: Path, receipt: ShardReceipt) -> str:
    """Say what is wrong with a file that is not the one of its receipt: cut, changed (and where), or another shard."""
    size = path.stat().st_size
    try:
        with h5py.File(path, "r", locking=False) as file:
            header = _header(file)
            changed = [name for name in _DATASETS if digest_bytes(file[name][()].data) != header[f"{name}_xxh3_128"]]
    except _BROKEN as error:
        reason = str(error).partition("\n")[0]
        return f"{size} bytes, expected {receipt.bytes}; unreadable: {reason}"
    if changed:
        return f"{' and '.join(changed)} changed: the digest in its header is another"
    if header["tokenizer_fingerprint"] != receipt.tokenizer_fingerprint:
        return f"a shard of tokenizer {header['tokenizer_fingerprint']}, expected {receipt.tokenizer_fingerprint}"
    if any(header[f"{name}_xxh3_128"] != digest for name, digest in receipt.digests.items()):
        return "a whole shard of other documents"
    return "bytes changed outside its tokens and documents"


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


def _header_texts(tokenizer_fingerprint: str, digests: Mapping[str, str]) -> dict[str, str]:
    named = {f"{name}_xxh3_128": digest for name, digest in digests.items()}
    return {"tokenizer_fingerprint": tokenizer_fingerprint, **named}


def _header(file: h5py.File) -> dict[str, Any]:
    """The attributes of a shard, texts as str."""
    values = dict(file.attrs)
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in values.items()}


def _check_header(path: Path, header: dict[str, Any], receipt: ShardReceipt) -> None:
    expected: dict[str, object] = {
        "format": SHARD_FORMAT,
        "num_tokens": receipt.tokens,
        "num_documents": receipt.documents,
        **_header_texts(receipt.tokenizer_fingerprint, receipt.digests),
    }
    for key, value in expected.items():
        if header.get(key) != value:
            raise damaged(path, f"{key} {header.get(key)!s}, expected {value}")


def _map(path: Path, datasets: list[Any]) -> list[np.ndarray]:
    """The datasets as views of one map of the file: each map holds a file descriptor, and there are many shards."""
    # Plain arrays: slicing the memmap object costs 182 us a 64 x 70 window, slicing the view 50.
    whole = np.asarray(np.memmap(path, np.uint8, "r"))
    arrays = []
    for dataset in datasets:
        # HDF5 allocates nothing for an empty dataset, so that there is no offset to map.
        offset = dataset.id.get_offset() if dataset.size else 0
        if offset is None:
            raise damaged(path, f"{dataset.name} is not contiguous")
        arrays.append(whole[offset : offset + dataset.nbytes].view(dataset.dtype).reshape(dataset.shape))
    return arrays


def _check_shapes(path: Path, arrays: tuple[np.ndarray, ...], receipt: ShardReceipt) -> None:
    tokens, doc_start, doc_id = arrays
    shapes = tokens.shape, doc_start.shape, doc_id.shape
    expected = (receipt.tokens,), (receipt.documents + 1,), (receipt.documents, 16)
    if shapes != expected:
        raise damaged(path, f"shapes {shapes}, expected {expected}")
    starts = doc_start.astype(np.int64)
    if starts[0] != 0 or starts[-1] != receipt.tokens or (np.diff(starts) < 0).any():
        raise damaged(path, "doc_start does not cut the tokens into documents")
