"""Drawing the sample that SentencePiece is trained on, over all work items on the pool."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ulmfit_dist.cluster.attempt import Attempt
from ulmfit_dist.cluster.phases import Phase, Receipt, Work, each_document, file_is_whole, run_phase
from ulmfit_dist.corpus.documents import WorkItem
from ulmfit_dist.files import digest_file
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.counted import write_arrow
from ulmfit_dist.tokenization.recipe import SubwordRecipe
from ulmfit_dist.tokenization.sample import WHOLE, Numbered, join_samples, number_lines

# Lines are a little shorter than the documents' text, and few long ones make a share uneven.
_MARGIN = 1.5
# SentencePiece trains on the different stretches between blanks: few where they are words, most of the text in a script
# without blanks. It begins with a substring in every fifth of their letters, at most a million, and drops a quarter in
# each round until a tenth more is left than asked for. Measured (one thread, unigram, 2,000 to 30,000 pieces, 1 to 20
# million characters of English, 0.5 to 20 of Thai): 1.8 to 260 seconds, each within a factor of two of this.
_SECONDS_A_MILLION_AND_ROUND = 1.1
_FIRST_PIECES_A_LETTER, _MOST_FIRST_PIECES, _KEPT_A_ROUND, _SPARE = 0.2, 1e6, 0.75, 1.1
_MEGABYTES_A_MILLION, _MEGABYTES_A_MILLION_DIFFERENT = 15, 45


def draw_sample(items: Sequence[WorkItem], recipe: SubwordRecipe, call: StageCall[Any]) -> list[str]:
    """Return the lines of `sample.sample_lines` over all documents of the items; says what training on them takes."""
    lines = _drawn_lines(items, recipe, call)
    characters = sum(map(len, lines))
    seconds, megabytes = training_cost(characters, different_letters(lines), recipe.vocab_size)
    call.reporter.event(
        "estimate",
        what="train SentencePiece",
        sample_characters=characters,
        seconds=round(seconds, 1),
        megabytes=round(megabytes),
    )
    return lines


def different_letters(lines: Sequence[str]) -> int:
    """Return how many letters the different stretches between blanks have; 0.05 s a million characters."""
    different: set[str] = set()
    for line in lines:
        different.update(line.split())
    return sum(map(len, different))


def training_cost(characters: int, different: int, vocab_size: int) -> tuple[float, float]:
    """Return the seconds and megabytes that SentencePiece takes for a sample with so many `different_letters`."""
    first = min(_MOST_FIRST_PIECES, different * _FIRST_PIECES_A_LETTER)
    rounds = max(1.0, math.log(max(1.0, first) / (_SPARE * vocab_size)) / -math.log(_KEPT_A_ROUND))
    megabytes = (characters * _MEGABYTES_A_MILLION + different * _MEGABYTES_A_MILLION_DIFFERENT) / 1e6
    return different / 1e6 * rounds * _SECONDS_A_MILLION_AND_ROUND, megabytes


def _drawn_lines(items: Sequence[WorkItem], recipe: SubwordRecipe, call: StageCall[Any]) -> list[str]:
    characters = sum(item.characters for item in items)
    share = min(1.0, _MARGIN * recipe.sample_characters / max(characters, 1))
    while True:
        below = WHOLE if share >= 1 else int(share * WHOLE)
        lines = _draw(items, recipe, call, below)
        # With too small a share the bound may not be reached: then the sample would lack lines.
        if below == WHOLE or sum(map(len, lines[:-1])) >= recipe.sample_characters - max(map(len, lines), default=0):
            return lines
        share *= 4


def _draw(items: Sequence[WorkItem], recipe: SubwordRecipe, call: StageCall[Any], below: int) -> list[str]:
    folder = call.out / f"sample-{below:x}"
    make = partial(_sampler, recipe, below, folder)
    phase = Phase("draw a sample", folder, make, partial(file_is_whole, folder))
    receipts = run_phase(phase, items, call, call.settings.workers)
    lines = join_samples((_read(folder / receipt["name"]) for receipt in receipts), recipe.sample_characters)
    shutil.rmtree(folder)
    return lines


def _sampler(recipe: SubwordRecipe, below: int, folder: Path) -> Work:
    def work(item: WorkItem, attempt: Attempt) -> Receipt:
        samples: list[Numbered] = []
        limit, seed = recipe.sample_characters, recipe.seed

        def number(texts: list[str]) -> None:
            samples.append(number_lines(texts, limit, seed, below))

        each_document(item, attempt, lambda batch: number([one.text for one in batch]))
        path = folder / f"lines-{item.index:05d}.arrow"
        _write(path, sorted(pair for sample in samples for pair in sample))
        return {"name": path.name, "xxh3_128": digest_file(path)}

    return work


def _write(path: Path, lines: Numbered) -> None:
    numbers = pa.array([number for number, _ in lines], pa.uint64())
    table = pa.table({"number": numbers, "line": pa.array([line for _, line in lines], pa.large_string())})
    write_arrow(path, table)


def _read(path: Path) -> Iterator[tuple[int, str]]:
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    for batch in table.to_batches(max_chunksize=1024):
        yield from zip(batch.column("number").to_pylist(), batch.column("line").to_pylist(), strict=True)
