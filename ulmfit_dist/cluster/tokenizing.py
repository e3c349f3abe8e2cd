"""The two tokenization stages on a pool of actors: documents to a tokenizer, documents to token streams."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ulmfit_dist.cluster.attempt import Attempt
from ulmfit_dist.cluster.counting import SHARED_FROM_CHARACTERS, Kept, build_table, count_words_on_pool
from ulmfit_dist.cluster.described import describe_tokenizer
from ulmfit_dist.cluster.phases import Phase, Receipt, Work, each_document, file_is_whole, run_phase
from ulmfit_dist.cluster.sampling import draw_sample
from ulmfit_dist.cluster.settings import TokenizeSettings, TrainTokenizerSettings
from ulmfit_dist.cluster.spool import spooled
from ulmfit_dist.cluster.without_torch import torch_left_out
from ulmfit_dist.corpus.bylanguage import is_sorted_by_language, no_documents_in
from ulmfit_dist.corpus.documents import MANIFEST_NAME, Document, WorkItem, read_documents, work_items
from ulmfit_dist.corpus.documents import read_manifest as read_documents_manifest
from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.records import split_labels
from ulmfit_dist.corpus.stream import ShardReceipt, write_shard
from ulmfit_dist.errors import InputError
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.tokenization.chunk_table import TABLE_NAME, covers
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.reuse import check_entries, read_itos, report_vocabulary, reuse_vocabulary
from ulmfit_dist.tokenization.rules import rule_set
from ulmfit_dist.tokenization.segmenters import SEGMENTERS
from ulmfit_dist.tokenization.subword import train_on_lines
from ulmfit_dist.tokenization.tokenizer import Encoded, load_tokenizer
from ulmfit_dist.tokenization.vocabulary import build_vocabulary
from ulmfit_dist.tokenization.word import WordTokenizer

TRAIN = "train"
_REPORTED_UNKNOWN = 20
# Few workers cut the new chunks of a foreign corpus faster on their own than after a pass that counts them: for 407 MB
# two workers took 52 s alone (38 by now) and 87 s with a table. From eight on the table should pay, by how distinct
# chunks grow.
_SHARED_FROM_WORKERS = 8
CHUNKS = "chunks"


def train_tokenizer(call: StageCall[TrainTokenizerSettings]) -> Summary:
    """Stage: learn a tokenizer from the training split of `documents`; writes the tokenizer folder itself.

    A word tokenizer takes the tokens of the input `vocabulary` (reuse.read_itos) if there is one, else the most
    frequent. A large corpus leaves its chunk table beside, in `chunks/`, for whoever tokenizes it.
    """
    folders = split_folders(call.inputs["documents"])
    texts = folders.get(TRAIN) or folders.get("")
    if texts is None:
        raise InputError(
            f"no training documents in {call.inputs['documents']}",
            found=f"splits {', '.join(sorted(folders))}",
            do=f"give a document folder, or one with a split named {TRAIN}",
        )
    recipe = call.settings.recipe
    if isinstance(recipe, WordRecipe):
        return _train_words(work_items(texts), recipe, call)
    if "vocabulary" in call.inputs:
        raise InputError("a SentencePiece model cannot reuse a vocabulary", do="use a word recipe")
    tokenizer = train_on_lines(draw_sample(work_items(texts), recipe, call), recipe)
    tokenizer.save(call.out)
    return {"unit": recipe.unit, "vocab_size": tokenizer.vocab_size, "fingerprint": tokenizer.fingerprint}


def _train_words(items: list[WorkItem], recipe: WordRecipe, call: StageCall[TrainTokenizerSettings]) -> Summary:
    itos: list[str] = []
    specials = rule_set(recipe.rules).specials
    if "vocabulary" in call.inputs:
        itos = read_itos(call.inputs["vocabulary"])
        check_entries(itos, rule_set(recipe.rules))
    table = _table(items, recipe, call, call.out / CHUNKS)
    keep = Kept(recipe.max_vocab + _REPORTED_UNKNOWN, frozenset(itos))
    counts = count_words_on_pool(items, recipe, call, table, keep)
    vocabulary = reuse_vocabulary(itos, counts, recipe) if itos else build_vocabulary(counts, recipe)
    with torch_left_out():
        tokenizer = WordTokenizer(recipe, vocabulary)
    tokenizer.save(call.out)
    report = report_vocabulary(counts, vocabulary, specials, _REPORTED_UNKNOWN)
    summary = {"unit": recipe.unit, "vocab_size": tokenizer.vocab_size, "fingerprint": tokenizer.fingerprint}
    return {**summary, **asdict(report)}


def tokenize(call: StageCall[TokenizeSettings]) -> Summary:
    """Stage: turn each split of `documents` into a token stream, `out/<split>/`, with `tokenizer`."""
    tokenizer = describe_tokenizer(call.inputs["tokenizer"])
    summary: Summary = {"tokenizer": tokenizer.fingerprint, "vocab_size": tokenizer.vocab_size, "splits": {}}
    scratch = call.out / "scratch"
    for split, folder in sorted(split_folders(call.inputs["documents"]).items()):
        items = work_items(folder)
        table = None
        if isinstance(tokenizer.recipe, WordRecipe):
            table = _known_table(items, call.inputs["tokenizer"] / CHUNKS)
            if table is None and call.settings.workers >= _SHARED_FROM_WORKERS:
                table = _table(items, tokenizer.recipe, call, scratch / CHUNKS / split)
        out, receipts = call.out / split, scratch / "receipts" / split
        make = partial(_make_tokenizer, call.inputs["tokenizer"], table, out)
        phase = Phase(f"tokenize {split}".strip(), receipts, make, partial(file_is_whole, out))
        done = run_phase(phase, items, call, call.settings.workers)
        shards = [ShardReceipt(**receipt["shard"]) for receipt in done]
        names = read_documents_manifest(folder).label_names
        rows = _labels(folder, shards, names) if names else None
        manifest = write_manifest(out, shards, tokenizer, rows, names or ("label",))
        summary["splits"][split] = {
            "shards": len(shards),
            "documents": manifest.documents,
            "tokens": manifest.tokens,
            "characters": manifest.characters,
            "unknown_rate": manifest.unknown_rate,
            "quarantined": manifest.quarantined,
        }
    shutil.rmtree(scratch, ignore_errors=True)
    return summary


def split_folders(documents: Path) -> dict[str, Path]:
    """Return the document folders by split: {"": folder} for a single one.

    Raises InputError when there is none, DataError where a corpus that is sorted has nothing in that language.
    """
    if (documents / MANIFEST_NAME).is_file():
        return {"": documents}
    found = {path.parent.name: path.parent for path in sorted(documents.glob(f"*/{MANIFEST_NAME}"))}
    if not found and is_sorted_by_language(documents.parent):
        raise no_documents_in([documents.name], documents.parent)
    if not found:
        raise InputError(
            f"{documents} holds no documents",
            found="no manifest.json in it or one level below" if documents.is_dir() else "no such folder",
            do="make document folders with `ulmfit ingest SRC --out DIR`",
        )
    return found


def _table(items: Sequence[WorkItem], recipe: WordRecipe, call: StageCall[Any], folder: Path) -> Path | None:
    # Of a segmented language the chunks are sentences, of which few come again.
    if recipe.language in SEGMENTERS or sum(item.characters for item in items) < SHARED_FROM_CHARACTERS:
        return None
    build_table(items, recipe, call, folder)
    return folder


def _known_table(items: Sequence[WorkItem], folder: Path) -> Path | None:
    """Return the table that the tokenizer's training left, if it was made of these very work items."""
    there = (folder / TABLE_NAME).is_file()
    return folder if there and covers(folder, [item.digest for item in items]) else None


def _make_tokenizer(tokenizer_folder: Path, table: Path | None, out: Path) -> Work:
    tokenizer = load_tokenizer(tokenizer_folder)
    if isinstance(tokenizer, WordTokenizer) and table is not None:
        tokenizer.use_table(table)

    def work(item: WorkItem, attempt: Attempt) -> Receipt:
        done: list[tuple[str, Encoded]] = []

        def encode(batch: list[Document]) -> None:
            encoded = tokenizer.encode([document.text for document in batch])
            done.extend((document.id, one) for document, one in zip(batch, encoded, strict=True))

        aside = each_document(item, attempt, encode)
        path = out / f"shard-{item.index:05d}.h5"
        with spooled(path) as target:
            receipt = write_shard(target, done, tokenizer, item.digest, list(aside.items()))
        return {"name": receipt.name, "xxh3_128": receipt.xxh3_128, "shard": asdict(receipt)}

    return work


def _labels(folder: Path, shards: Sequence[ShardReceipt], names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield (document id, labels) of every document in stream order, without those that were set aside."""
    aside = {document["id"] for shard in shards for document in shard.quarantined}
    for document in read_documents(folder):
        if document.id not in aside:
            yield (document.id, *split_labels(document.label or "", len(names)))
