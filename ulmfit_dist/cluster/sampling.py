"""Drawing the sample that SentencePiece is trained on, over all work items on the pool."""

from __future__ import annotations

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
# Measured (one thread, 30,000 pieces, unigram): linear from 10 to 40 million characters.
_SECONDS_A_MILLION, _MEGABYTES_A_MILLION = 1.15, 20


def draw_sample(items: Sequence[WorkItem], recipe: SubwordRecipe, call: StageCall[Any]) -> list[str]:
    """Return the lines of `sample.sample_lines` over all documents of the items; first says what training will take."""
    characters = sum(item.characters for item in items)
    millions = min(characters, recipe.sample_characters) / 1e6
    call.reporter.event(
        "estimate",
        what="train SentencePiece",
        sample_characters=int(millions * 1e6),
        seconds=round(millions * _SECONDS_A_MILLION, 1),
        megabytes=round(millions * _MEGABYTES_A_MILLION),
    )
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
