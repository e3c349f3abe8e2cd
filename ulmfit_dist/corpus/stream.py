"""The token stream: the ordered shards of one tokenizer and split, read through memory maps without locks."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulmfit_dist.corpus.manifest import StreamManifest, read_manifest, write_manifest
from ulmfit_dist.corpus.sealed import DAMAGED, compare_file, damaged, repair
from ulmfit_dist.corpus.shard import MappedShard, ShardReceipt, describe_damage, open_shard, write_shard
from ulmfit_dist.errors import DataError, DigestError
from ulmfit_dist.files import digest_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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

_SPARE_DESCRIPTORS = 64


class TokenStream:
    """An opened token stream. Documents and tokens are numbered over all shards, in stream order.

    `shard_tokens`: one array of uint16 or uint32 a shard; `shard_starts` (s,) int64: the number of its first token;
    `document_starts` (n + 1,) int64: the number of each document's first token, and the end. That is all it keeps in
    memory: 8 bytes a document. Tokens and ids stay in the page cache, never in the heap.
    """

    def __init__(self, manifest: StreamManifest, shards: list[MappedShard]) -> None:
        self.manifest = manifest
        self.shard_tokens = [shard.tokens for shard in shards]
        self._doc_ids = [shard.doc_id for shard in shards]
        self.shard_starts: np.ndarray = _starts(len(tokens) for tokens in self.shard_tokens)[:-1]
        self._first_documents = _starts(len(ids) for ids in self._doc_ids)
        self.document_starts: np.ndarray = np.full(int(self._first_documents[-1]) + 1, manifest.tokens, np.int64)
        for shard, first, start in zip(shards, self._first_documents.tolist(), self.shard_starts, strict=False):
            mine = self.document_starts[first : first + len(shard.doc_id)]
            mine[:] = shard.doc_start[:-1]
            mine += start

    @classmethod
    def open(cls, folder: Path) -> TokenStream:
        """Open a stream after checking its manifest's own digest and the size and header of every shard.

        Raises InputError when the folder is no token stream, DigestError naming the first bad file.
        """
        manifest = read_manifest(folder)
        return cls.of_files(manifest, [folder / receipt.name for receipt in manifest.shards])

    @classmethod
    def of_files(cls, manifest: StreamManifest, files: Sequence[Path]) -> TokenStream:
        """Open a stream whose shards lie in the given files, in the manifest's order; checks and raises as `open`."""
        _reserve_descriptors(len(files))
        return cls(manifest, [open_shard(*pair) for pair in zip(files, manifest.shards, strict=True)])

    @property
    def num_tokens(self) -> int:
        """Tokens in all, beginning markers included."""
        return self.manifest.tokens

    @property
    def num_documents(self) -> int:
        """Documents in all."""
        return self.manifest.documents

    @property
    def document_lengths(self) -> np.ndarray:
        """Tokens of each document (n,) int64, made anew at each call."""
        lengths: np.ndarray = np.diff(self.document_starts)
        return lengths

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
        shard = self.shard_of_document(index)
        start, end = (self.document_starts[index : index + 2] - self.shard_starts[shard]).tolist()
        ids: np.ndarray = self.shard_tokens[shard][start:end]
        return ids

    def document_id(self, index: int) -> str:
        """Return the id of one document, 32 hex digits."""
        shard = self.shard_of_document(index)
        return bytes(self._doc_ids[shard][index - int(self._first_documents[shard])]).hex()

    def shard_of_document(self, index: int) -> int:
        """Return the position of the document's shard in the manifest."""
        return int(self._first_documents.searchsorted(index, "right")) - 1


def verify_stream(folder: Path) -> list[DigestError]:
    """Re-hash every file of a stream; one error for each bad file, with the repair.

    A shard or label file beside the manifest that it does not list is reported too. Raises InputError when the folder
    is no stream.
    """
    try:
        manifest = read_manifest(folder)
    except DigestError as error:
        return [error]
    owners = {receipt.xxh3_128: receipt.name for receipt in manifest.shards}
    errors = [_verify_shard(folder / receipt.name, receipt, owners) for receipt in manifest.shards]
    files = [] if manifest.labels is None else manifest.labels["files"]
    errors += [compare_file(folder / file["name"], file["bytes"], file["xxh3_128"]) for file in files]
    listed = {*owners.values(), *(receipt.name for receipt in manifest.shards), *(file["name"] for file in files)}
    present = sorted([*folder.glob("shard-*.h5"), *folder.glob("labels*.parquet")])
    errors += [_stray(path) for path in present if path.name not in listed]
    return [error for error in errors if error is not None]


def _verify_shard(path: Path, receipt: ShardReceipt, owners: Mapping[str, str]) -> DigestError | None:
    if not path.is_file():
        return damaged(path, "no file")
    found = digest_file(path)
    if found == receipt.xxh3_128:
        return None
    if found in owners:
        do = f"give each file its own name back, or {repair(path.parent)}"
        return DigestError(f"{path}{DAMAGED}", found=f"the whole of {owners[found]}", do=do)
    return damaged(path, describe_damage(path, receipt))


def _stray(path: Path) -> DigestError:
    do = f"delete {path}; if an append was cut short, run it again"
    return DigestError(f"{path}{DAMAGED}", found="a file that the manifest does not list", do=do)


def _starts(counts: Iterable[int]) -> np.ndarray:
    """(s + 1,) int64: the sums of the counts before each, and their total."""
    return np.cumsum([0, *counts], dtype=np.int64)


def _reserve_descriptors(num_shards: int) -> None:
    """A map keeps its file's descriptor (until Python 3.13's trackfd), and 1,024 is a common soft limit."""
    needed = sum(1 for _ in Path("/dev/fd").iterdir()) + num_shards + _SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        found = f"{num_shards} shards, {hard} open files are allowed"
        raise DataError("cannot map a token stream", found=found, do=f"allow more open files: ulimit -Hn {needed}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
