"""The token stream: the ordered shards of one tokenizer and split, read through memory maps without locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ulmfit_dist.corpus.manifest import StreamManifest, read_manifest, write_manifest
from ulmfit_dist.corpus.sealed import compare_file, damaged
from ulmfit_dist.corpus.shard import MappedShard, ShardReceipt, open_shard, payload_error, write_shard
from ulmfit_dist.errors import DigestError

if TYPE_CHECKING:
    from pathlib import Path

# What writes a stream stands beside what reads it, though it lives in shard.py and manifest.py.
__all__ = [
    "ShardReceipt",
    "StreamManifest",
    "TokenStream",
    "read_manifest",
    "verify_stream",
    "write_manifest",
    "write_shard",
]


class TokenStream:
    """An opened token stream. Documents are numbered over all shards, in stream order.

    `document_lengths` (n,) int64 tokens; `shard_of_document` (n,) int32 and `start_in_shard` (n,) int64 say where each
    one lies in `shard_tokens`, one array of uint16 or uint32 a shard. Tokens stay in the page cache, never in the heap.
    """

    def __init__(self, manifest: StreamManifest, shards: list[MappedShard]) -> None:
        self.manifest = manifest
        self.shard_tokens = [shard.tokens for shard in shards]
        self._doc_ids = [shard.doc_id for shard in shards]
        starts = [shard.doc_start.astype(np.int64) for shard in shards]
        counts = np.array([len(start) - 1 for start in starts], np.int64)
        empty = np.zeros(0, np.int64)
        self.document_lengths: np.ndarray = np.concatenate([empty, *(np.diff(start) for start in starts)])
        self.start_in_shard: np.ndarray = np.concatenate([empty, *(start[:-1] for start in starts)])
        self.shard_of_document: np.ndarray = np.repeat(np.arange(len(shards), dtype=np.int32), counts)
        self._first_of_shard = np.concatenate([empty, np.cumsum(counts) - counts])

    @classmethod
    def open(cls, folder: Path) -> TokenStream:
        """Open a stream after checking its manifest's own digest and the size and header of every shard.

        Raises InputError when the folder is no token stream, DigestError naming the first bad file.
        """
        manifest = read_manifest(folder)
        return cls(manifest, [open_shard(folder / receipt.name, receipt) for receipt in manifest.shards])

    @property
    def num_tokens(self) -> int:
        """Tokens in all, beginning markers included."""
        return self.manifest.tokens

    @property
    def num_documents(self) -> int:
        """Documents in all."""
        return self.manifest.documents

    @property
    def tokenizer_fingerprint(self) -> str:
        """The fingerprint of the tokenizer that made the ids."""
        return self.manifest.tokenizer_fingerprint

    @property
    def vocab_size(self) -> int:
        """The number of ids, unpadded."""
        return self.manifest.vocab_size

    @property
    def pad_id(self) -> int:
        """The id that fills the end of the shorter lanes."""
        return self.manifest.pad_id

    @property
    def characters(self) -> int:
        """Code points of the raw texts: the denominator of bits per character."""
        return self.manifest.characters

    @property
    def unknown(self) -> int:
        """How many tokens are the unknown id."""
        return self.manifest.unknown

    @property
    def unknown_bits(self) -> float:
        """Bits to spell the unknown words (DESIGN section 8, "Bits per character")."""
        return self.manifest.unknown_bits

    def document(self, index: int) -> np.ndarray:
        """Return the ids of one document: a read-only view (length,) of the memory map."""
        start = int(self.start_in_shard[index])
        tokens: np.ndarray = self.shard_tokens[self.shard_of_document[index]]
        ids: np.ndarray = tokens[start : start + int(self.document_lengths[index])]
        return ids

    def document_id(self, index: int) -> str:
        """Return the id of one document, 32 hex digits."""
        shard = int(self.shard_of_document[index])
        return bytes(self._doc_ids[shard][index - int(self._first_of_shard[shard])]).hex()


def verify_stream(folder: Path) -> list[DigestError]:
    """Re-hash every file and payload of a stream; one error for each bad file, with the repair.

    A shard beside the manifest that it does not list is reported too. Raises InputError when the folder is no stream.
    """
    try:
        manifest = read_manifest(folder)
    except DigestError as error:
        return [error]
    errors = [_verify_shard(folder / receipt.name, receipt) for receipt in manifest.shards]
    if manifest.labels is not None:
        labels = manifest.labels
        errors.append(compare_file(folder / labels["name"], labels["bytes"], labels["xxh3_128"]))
    listed = {receipt.name for receipt in manifest.shards}
    stray = [path for path in sorted(folder.glob("shard-*.h5")) if path.name not in listed]
    return [error for error in errors if error is not None] + [
        damaged(path, "a shard that the manifest does not list") for path in stray
    ]


def _verify_shard(path: Path, receipt: ShardReceipt) -> DigestError | None:
    return compare_file(path, receipt.bytes, receipt.xxh3_128) or payload_error(path, receipt)
