"""The manifest of a token stream: the ordered shards, what they hold, and the digest of every file.

It is written last; a folder without it is not a token stream. Documents are appended as new shards, a new file of
labels and then a manifest that replaces the old one in one rename: whatever is killed before that, the old stream
stands, and who has opened it reads on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ulmfit_dist.corpus.labels import DEFAULT_NAMES, labels_name, read_labels_column, write_labels
from ulmfit_dist.corpus.lengths import describe_lengths, merge_histograms
from ulmfit_dist.corpus.sealed import check_format, read_sealed, write_sealed
from ulmfit_dist.corpus.shard import BIT_PARTS, ShardReceipt
from ulmfit_dist.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MANIFEST_NAME = "manifest.json"
STREAM_FORMAT = 2
_WHAT = "a token stream"


class TokenizerIdentity(Protocol):
    """What a manifest keeps of the tokenizer: any tokenization.tokenizer.Tokenizer has it."""

    @property
    def unit(self) -> str:
        """`word` or `subword`."""

    @property
    def vocab_size(self) -> int:
        """Number of ids; every id is below it."""

    @property
    def pad_id(self) -> int:
        """The id that fills unused cells of a batch."""

    @property
    def fingerprint(self) -> str:
        """Identity of the map from text to ids."""


@dataclass(frozen=True)
class StreamManifest:
    """What a token stream holds. No number of it but those of `shards` and `labels` depends on how it is sharded.

    `characters`, `words` and `unknown_bits` as in ShardReceipt, summed; `tokens_per_word`: the tokens without the
    beginning markers; `unknown_rate`: of all tokens; `document_lengths`: tokens, {min, max, mean, percentiles} as
    `lengths.describe_lengths` gives them; `quarantined`: documents set aside, by reason; `labels`: {names, files:
    [{name, bytes, xxh3_128}]}, None when unlabelled; `shards`: receipts in stream order.
    """

    format: int
    tokenizer_fingerprint: str
    unit: str
    vocab_size: int
    pad_id: int
    tokens: int
    documents: int
    characters: int
    words: int
    tokens_per_word: float
    unknown: int
    unknown_rate: float
    unknown_bits: float
    document_lengths: dict[str, Any]
    quarantined: dict[str, int]
    labels: dict[str, Any] | None
    shards: tuple[ShardReceipt, ...]


def write_manifest(
    folder: Path,
    receipts: Sequence[ShardReceipt],
    tokenizer: TokenizerIdentity,
    labels: Iterable[tuple[str, ...]] | None = None,
    label_names: Sequence[str] = DEFAULT_NAMES,
) -> StreamManifest:
    """Write a stream's manifest, and so make it a stream: `receipts` in the order of the stream.

    labels: (document id, a label for each of `label_names`) of every document in stream order, as
    `documents.read_labels` gives them; written to labels.parquet. Raises DataError when a receipt is of another
    tokenizer, two have one name, or the labels are not of these documents in this order.
    """
    _check_receipts(folder, receipts, tokenizer.fingerprint)
    described: dict[str, Any] | None = None
    if labels is not None:
        file = write_labels(folder / labels_name(0), receipts, labels, label_names)
        described = {"names": list(label_names), "files": [file]}
    manifest = StreamManifest(
        format=STREAM_FORMAT,
        tokenizer_fingerprint=tokenizer.fingerprint,
        unit=tokenizer.unit,
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        **_statistics(receipts),
        labels=described,
        shards=tuple(receipts),
    )
    _write(folder, manifest)
    return manifest


def extend_manifest(
    folder: Path, receipts: Sequence[ShardReceipt], labels: Iterable[tuple[str, ...]] | None = None
) -> StreamManifest:
    """Append shards that are already written to an existing stream; `labels` are of their documents alone.

    Writes one new file of labels and replaces manifest.json; no other file is touched. Raises DataError as
    `write_manifest` does, and when only one of the stream and the appended documents is labelled.
    """
    old = read_manifest(folder)
    shards = (*old.shards, *receipts)
    _check_receipts(folder, shards, old.tokenizer_fingerprint)
    if (labels is None) != (old.labels is None):
        found = "the stream has labels, the new documents none" if labels is None else "the stream has no labels"
        raise DataError(f"cannot append to {folder}", found=found, do="append labels to a labelled stream only")
    described = old.labels
    if labels is not None and old.labels is not None:
        path = folder / labels_name(len(old.labels["files"]))
        file = write_labels(path, receipts, labels, old.labels["names"])
        described = {**old.labels, "files": [*old.labels["files"], file]}
    manifest = StreamManifest(**{**vars(old), **_statistics(shards), "labels": described, "shards": shards})
    _write(folder, manifest)
    return manifest


def read_manifest(folder: Path) -> StreamManifest:
    """Read a stream's manifest; InputError when the folder is no token stream, DigestError when it is damaged."""
    value = read_sealed(folder / MANIFEST_NAME, _WHAT)
    check_format(folder / MANIFEST_NAME, value.get("format"), STREAM_FORMAT)
    shards = tuple(ShardReceipt(**receipt) for receipt in value.pop("shards"))
    return StreamManifest(**value, shards=shards)


def read_stream_labels(folder: Path, name: str = DEFAULT_NAMES[0]) -> list[str] | None:
    """Return one label of every document in stream order, None for an unlabelled stream.

    Raises InputError when the stream has labels, but none of this name.
    """
    manifest = read_manifest(folder)
    return None if manifest.labels is None else read_labels_column(folder, manifest.labels, name)


def _statistics(receipts: Sequence[ShardReceipt]) -> dict[str, Any]:
    tokens, documents, characters, words, unknown = (
        sum(getattr(receipt, name) for receipt in receipts)
        for name in ("tokens", "documents", "characters", "words", "unknown")
    )
    full = [receipt for receipt in receipts if receipt.documents]
    shortest = min((receipt.shortest for receipt in full), default=0)
    longest = max((receipt.longest for receipt in full), default=0)
    reasons = Counter(document["reason"] for receipt in receipts for document in receipt.quarantined)
    return {
        "tokens": tokens,
        "documents": documents,
        "characters": characters,
        "words": words,
        "tokens_per_word": (tokens - documents) / words if words else 0.0,
        "unknown": unknown,
        "unknown_rate": unknown / tokens if tokens else 0.0,
        "unknown_bits": sum(int(receipt.unknown_bits * BIT_PARTS) for receipt in receipts) / BIT_PARTS,
        "document_lengths": describe_lengths(
            merge_histograms(receipt.lengths for receipt in receipts), shortest, longest, tokens
        ),
        "quarantined": dict(sorted(reasons.items())),
    }


def _write(folder: Path, manifest: StreamManifest) -> None:
    value = asdict(manifest)
    value["shards"] = list(value["shards"])
    write_sealed(folder / MANIFEST_NAME, value)


def _check_receipts(folder: Path, receipts: Sequence[ShardReceipt], tokenizer_fingerprint: str) -> None:
    do = f"delete {folder} and tokenize again"
    foreign = [receipt.name for receipt in receipts if receipt.tokenizer_fingerprint != tokenizer_fingerprint]
    if foreign:
        raise DataError(f"shards of another tokenizer in {folder}", found=", ".join(foreign), do=do)
    twice = sorted(name for name, count in Counter(receipt.name for receipt in receipts).items() if count > 1)
    if twice:
        raise DataError(f"two shards of one name in {folder}", found=", ".join(twice), do=do)
