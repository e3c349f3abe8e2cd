"""The two tokenization stages on a pool of actors: documents to a tokenizer, documents to token streams.

A work item's result is a file that does not depend on who made it, or when: a driver that is killed and started again
finds the items that are done by their receipts and does only what is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ulmfit_dist.cluster.pool import SetAside, map_items
from ulmfit_dist.config import Settings, operational
from ulmfit_dist.corpus.documents import MANIFEST_NAME, WorkItem, read_documents, read_item, work_items
from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.stream import ShardReceipt, write_shard
from ulmfit_dist.errors import DataError, InputError
from ulmfit_dist.files import digest_file, read_json, write_json
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.tokenization.recipe import SubwordRecipe, WordRecipe
from ulmfit_dist.tokenization.subword import train_subword
from ulmfit_dist.tokenization.tokenizer import load_tokenizer
from ulmfit_dist.tokenization.vocabulary import WordCounts, build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer

TRAIN = "train"
_QUARANTINE_SHARE = 0.01


class TrainTokenizerSettings(Settings):
    """What a token is, and how many actors count words."""

    recipe: Annotated[WordRecipe | SubwordRecipe, Field(discriminator="unit")]
    workers: int = operational(2, "actors that count words")


class TokenizeSettings(Settings):
    """Tokenization has no settings of its own: the documents and the tokenizer say everything."""

    workers: int = operational(2, "actors that tokenize")


def train_tokenizer(call: StageCall[TrainTokenizerSettings]) -> Summary:
    """Stage: learn a tokenizer from the training split of `documents`; writes the tokenizer folder itself."""
    folders = split_folders(call.inputs["documents"])
    texts = folders.get(TRAIN) or folders.get("")
    if texts is None:
        raise InputError(
            f"no training documents in {call.inputs['documents']}",
            found=f"splits {', '.join(sorted(folders))}",
            do=f"give a document folder, or one with a split named {TRAIN}",
        )
    recipe = call.settings.recipe
    if isinstance(recipe, SubwordRecipe):
        tokenizer = train_subword((document.text for document in read_documents(texts)), recipe)
        tokenizer.save(call.out)
        return {"unit": recipe.unit, "vocab_size": tokenizer.vocab_size, "fingerprint": tokenizer.fingerprint}
    counts = _count(texts, recipe, call)
    words = WordTokenizer(recipe, build_vocabulary(counts, recipe))
    words.save(call.out)
    return {
        "unit": recipe.unit,
        "vocab_size": words.vocab_size,
        "fingerprint": words.fingerprint,
        "documents": counts.documents,
        "tokens": counts.tokens.total(),
        "distinct": len(counts.tokens),
    }


def tokenize(call: StageCall[TokenizeSettings]) -> Summary:
    """Stage: turn each split of `documents` into a token stream, `out/<split>/`, with `tokenizer`."""
    tokenizer = load_tokenizer(call.inputs["tokenizer"])
    receipts_folder = call.out / "receipts"
    summary: Summary = {"tokenizer": tokenizer.fingerprint, "vocab_size": tokenizer.vocab_size, "splits": {}}
    for split, folder in sorted(split_folders(call.inputs["documents"]).items()):
        items = work_items(folder)
        make = partial(_make_tokenizer, call.inputs["tokenizer"], call.out / split, receipts_folder / split)
        missing = [item for item in items if not _has_receipt(item, call.out / split, receipts_folder / split)]
        _run(make, missing, call, f"tokenize {split}".strip())
        receipts = [_read_receipt(item, receipts_folder / split) for item in items]
        _check_shares(items, receipts)
        whole = [receipt for receipt in receipts if receipt is not None]
        written = [item for item, receipt in zip(items, receipts, strict=True) if receipt is not None]
        write_manifest(call.out / split, whole, tokenizer, _labels(written))
        summary["splits"][split] = _totals(whole)
    shutil.rmtree(receipts_folder, ignore_errors=True)
    return summary


def split_folders(documents: Path) -> dict[str, Path]:
    """Return the document folders by split: {"": folder} for a single one. InputError when there is none."""
    if (documents / MANIFEST_NAME).is_file():
        return {"": documents}
    found = {path.parent.name: path.parent for path in sorted(documents.glob(f"*/{MANIFEST_NAME}"))}
    if not found:
        raise InputError(
            f"{documents} holds no documents",
            found="no manifest.json in it or one level below" if documents.is_dir() else "no such folder",
            do="make document folders with `ulmfit ingest SRC --out DIR`",
        )
    return found


def _count(texts: Path, recipe: WordRecipe, call: StageCall[TrainTokenizerSettings]) -> WordCounts:
    folder = call.out / "counts"
    items = work_items(texts)
    _run(partial(_make_counter, recipe, folder), items, call, "count words")
    counts = WordCounts()
    for item in items:
        path = _count_path(folder, item)
        if path.exists():
            counts.merge(WordCounts.load(path))
    shutil.rmtree(folder, ignore_errors=True)
    return counts


def _run(make: Callable[[], Callable[[Any], Any]], items: list[WorkItem], call: StageCall[Any], what: str) -> None:
    """Run the items on the pool, report progress in characters, and set aside what failed three times."""
    total, done = sum(item.characters for item in items), 0

    def retried(item: WorkItem, reason: str) -> None:
        call.reporter.event("item-retried", item=item.index, path=item.path, reason=reason)

    for outcome in map_items(make, items, call.settings.workers, retried) if items else ():
        item = outcome.item if isinstance(outcome, SetAside) else outcome[0]
        if isinstance(outcome, SetAside):
            call.reporter.event("item-quarantined", item=item.index, path=item.path, reason=outcome.reason)
            write_json(call.out / "quarantine" / f"{item.index:05d}.json", {**asdict(item), "reason": outcome.reason})
        done += item.characters
        call.reporter.progress(done, total, what=what)


def _make_counter(recipe: WordRecipe, folder: Path) -> Callable[[WorkItem], None]:
    splitter = WordSplitter(recipe)

    def count(item: WorkItem) -> None:
        count_words((document.text for document in read_item(item)), splitter).save(_count_path(folder, item))

    return count


def _make_tokenizer(tokenizer_folder: Path, out: Path, receipts: Path) -> Callable[[WorkItem], None]:
    tokenizer = load_tokenizer(tokenizer_folder)

    def work(item: WorkItem) -> None:
        documents = read_item(item)
        encoded = tokenizer.encode([document.text for document in documents])
        pairs = [(document.id, ids) for document, ids in zip(documents, encoded, strict=True)]
        receipt = write_shard(out / _shard_name(item), pairs, tokenizer, item.digest)
        write_json(_receipt_path(receipts, item), asdict(receipt))

    return work


def _has_receipt(item: WorkItem, out: Path, receipts: Path) -> bool:
    receipt, shard = _read_receipt(item, receipts), out / _shard_name(item)
    return (
        receipt is not None
        and receipt.item_digest == item.digest
        and shard.is_file()
        and digest_file(shard) == receipt.xxh3_128
    )


def _read_receipt(item: WorkItem, receipts: Path) -> ShardReceipt | None:
    path = _receipt_path(receipts, item)
    return ShardReceipt(**read_json(path)) if path.is_file() else None


def _check_shares(items: list[WorkItem], receipts: list[ShardReceipt | None]) -> None:
    lost = [item for item, receipt in zip(items, receipts, strict=True) if receipt is None]
    rows = sum(item.rows for item in items)
    if lost and sum(item.rows for item in lost) > _QUARANTINE_SHARE * rows:
        raise DataError(
            f"{len(lost)} work items failed three times",
            found=", ".join(f"{item.path} row group {item.row_group}" for item in lost[:3]),
            do="the reasons are in events.jsonl of this stage; mend or remove those documents",
        )


def _labels(items: list[WorkItem]) -> Iterator[tuple[str, str]] | None:
    """Return (document id, label) of every document in stream order, or None for documents without labels."""
    if not items or read_item(items[0])[0].label is None:
        return None
    return ((document.id, document.label or "") for item in items for document in read_item(item))


def _totals(receipts: list[ShardReceipt]) -> dict[str, Any]:
    tokens, unknown = sum(r.tokens for r in receipts), sum(r.unknown for r in receipts)
    return {
        "shards": len(receipts),
        "documents": sum(r.documents for r in receipts),
        "tokens": tokens,
        "characters": sum(r.characters for r in receipts),
        "unknown_rate": unknown / tokens if tokens else 0.0,
    }


def _shard_name(item: WorkItem) -> str:
    return f"shard-{item.index:05d}.h5"


def _receipt_path(folder: Path, item: WorkItem) -> Path:
    return folder / f"{item.index:05d}.json"


def _count_path(folder: Path, item: WorkItem) -> Path:
    return folder / f"{item.index:05d}.json"
