"""Counting over a corpus on the pool: the shared chunk table, and the counts of all tokens.

Text is read twice: once to count its chunks, which costs little, and once to count its tokens with the table, since
what reaches over a chunk (repeated words, spaCy's special cases over a blank) shows only there.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ulmfit_dist.cluster.attempt import Attempt
from ulmfit_dist.cluster.phases import Part, Phase, Receipt, Work, each_document, file_is_whole, run_phase
from ulmfit_dist.corpus.documents import WorkItem
from ulmfit_dist.files import digest_file, fingerprint
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.chunk_table import (
    TABLE_NAME,
    ChunkTable,
    PartReceipt,
    count_chunks,
    write_part,
    write_table,
)
from ulmfit_dist.tokenization.counted import Counted, count_keys, keep_keys, merge_counted, without_keys, write_counted
from ulmfit_dist.tokenization.memo import ChunkMemo
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.rules import rule_set
from ulmfit_dist.tokenization.vocabulary import WordCounts
from ulmfit_dist.tokenization.word import WordSplitter


@dataclass(frozen=True)
class Kept:
    """Which counts of a large corpus are kept: of its most frequent words, and of these ones."""

    most_frequent: int
    words: frozenset[str] = frozenset()


# Below this the workers' own memos cut fewer chunks than the pass that counts them costs.
SHARED_FROM_CHARACTERS = 100_000_000
# Distinct strings of a part: some 100 MB of memory, half a minute of spaCy.
_PART_KEYS = 1_000_000
# 40 bytes an entry on disk and, of those in use, in the page cache.
_MAX_TABLE_CHUNKS = 1 << 24


def build_table(items: Sequence[WorkItem], recipe: WordRecipe, call: StageCall[Any], folder: Path) -> None:
    """Make the chunk table of the items in `folder`, unless it is there."""
    if (folder / TABLE_NAME).is_file():
        return
    counts = folder / "counts"
    counting = Phase("count chunks", counts, partial(_chunk_counter, recipe, counts), partial(file_is_whole, counts))
    workers = call.settings.workers
    receipts = run_phase(counting, items, call, workers)
    parts = _parts(receipts)
    files = [counts / receipt["name"] for receipt in receipts]
    making = Phase(
        "cut new chunks", folder, partial(_part_maker, recipe, files, folder), partial(file_is_whole, folder)
    )
    made = run_phase(making, parts, call, workers)
    names = [PartReceipt(**{key: receipt[key] for key in PartReceipt.__annotations__}) for receipt in made]
    write_table(folder, names, made[0]["identity"], [item.digest for item in items])
    shutil.rmtree(counts)


def count_words_on_pool(
    items: Sequence[WorkItem], recipe: WordRecipe, call: StageCall[Any], table: Path | None, keep: Kept
) -> WordCounts:
    """Count the words of the items exactly."""
    folder = call.out / "words"
    make = partial(_token_counter, recipe, folder, table)
    counting = Phase("count words", folder, make, partial(file_is_whole, folder))
    receipts = run_phase(counting, items, call, call.settings.workers)
    merged = folder / "merged"
    files = [folder / receipt["name"] for receipt in receipts]
    make = partial(_merger, files, merged, rule_set(recipe.rules).specials, keep)
    merging = Phase("merge counts", merged, make, partial(file_is_whole, merged))
    parts = run_phase(merging, _parts(receipts), call, call.settings.workers)
    words: dict[str, int] = {}
    characters: Counter[str] = Counter()
    for part in parts:
        words |= merge_counted([merged / part["name"]], 0, 1).as_dict()
        characters.update(part["characters"])
    types, tokens = (sum(part[key] for part in parts) for key in ("types", "tokens"))
    documents = sum(receipt["documents"] for receipt in receipts)
    shutil.rmtree(folder)
    return WordCounts(words, documents, dict(characters), types, tokens)


def _chunk_counter(recipe: WordRecipe, folder: Path) -> Work:
    splitter = WordSplitter(recipe)

    def work(item: WorkItem, attempt: Attempt) -> Receipt:
        parts: list[Counted] = []
        each_document(item, attempt, lambda batch: parts.append(count_chunks([one.text for one in batch], splitter)))
        return _write(folder, item, _sum(parts))

    return work


def _part_maker(recipe: WordRecipe, files: list[Path], folder: Path) -> Work:
    splitter = WordSplitter(recipe)

    def work(item: Part, attempt: Attempt) -> Receipt:
        counted = keep_keys(merge_counted(files, item.index, item.parts), _MAX_TABLE_CHUNKS // item.parts)
        receipt = write_part(folder / f"part-{item.index:05d}.arrow", counted, splitter, attempt.map)
        return {**asdict(receipt), "identity": splitter.identity}

    return work


def _token_counter(recipe: WordRecipe, folder: Path, table: Path | None) -> Work:
    splitter = WordSplitter(recipe)
    memo = ChunkMemo(splitter, ChunkTable(table, splitter.identity) if table else None)

    def work(item: WorkItem, attempt: Attempt) -> Receipt:
        parts: list[Counted] = []
        aside = each_document(item, attempt, lambda batch: parts.append(memo.count([one.text for one in batch])))
        return {**_write(folder, item, _sum(parts)), "documents": item.rows - len(aside)}

    return work


def _merger(files: list[Path], folder: Path, specials: tuple[str, ...], keep: Kept) -> Work:
    def work(item: Part, _: Attempt) -> Receipt:
        counted = without_keys(merge_counted(files, item.index, item.parts), specials)
        words = WordCounts.of(counted.as_dict(), 0, ())
        kept = keep_keys(counted, keep.most_frequent, keep.words)
        totals = {"types": words.types, "tokens": words.tokens, "characters": dict(words.characters)}
        return {**_write(folder, item, kept), **totals}

    return work


def _parts(receipts: Sequence[Receipt]) -> list[Part]:
    keys = sum(receipt["keys"] for receipt in receipts)
    parts = 1 << max(0, (max(keys, 1) - 1) // _PART_KEYS).bit_length()
    digest = fingerprint([receipt["xxh3_128"] for receipt in receipts])
    return [Part(index, keys // parts + 1, digest, parts) for index in range(parts)]


def _sum(parts: list[Counted]) -> Counted:
    if len(parts) == 1:
        return parts[0]
    keys = pa.concat_arrays([pa.array([], pa.large_string()), *(part.keys for part in parts)])
    return count_keys(keys, np.concatenate([np.zeros(0, np.int64), *(part.counts for part in parts)]))


def _write(folder: Path, item: WorkItem | Part, counted: Counted) -> Receipt:
    name = f"counts-{item.index:05d}.arrow"
    write_counted(folder / name, counted)
    return {"name": name, "xxh3_128": digest_file(folder / name), "keys": len(counted.counts)}
