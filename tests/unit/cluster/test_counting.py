"""Counts and chunk tables over work items: those of all documents together, however they are cut into items."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ulmfit_dist.cluster import counting
from ulmfit_dist.cluster.counting import Kept, build_table, count_words_on_pool
from ulmfit_dist.cluster.settings import TrainTokenizerSettings
from ulmfit_dist.corpus.documents import Document, WorkItem, document_id, work_items, write_documents
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.chunk_table import ChunkTable, covers
from ulmfit_dist.tokenization.memo import ChunkMemo
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.special import SPECIALS
from ulmfit_dist.tokenization.vocabulary import count_words
from ulmfit_dist.tokenization.word import WordSplitter

RECIPE = WordRecipe()
TEXTS = [f"The boat {n % 7} went OUT, no no no; don't!!!! café {n}\nElvis' ''Love" for n in range(40)]
TEXTS.append("\ufdd0 is left")


def items(folder: Path, item_characters: int) -> list[WorkItem]:
    write_documents(folder, [Document(document_id("d", text), text) for text in TEXTS], item_characters)
    return work_items(folder)


def call(folder: Path) -> StageCall[TrainTokenizerSettings]:
    return StageCall(TrainTokenizerSettings(recipe=RECIPE), {}, folder, Silent())


@pytest.mark.parametrize("part_keys", [7, 10**6])
@pytest.mark.parametrize("item_characters", [300, 10**6])
@pytest.mark.parametrize("with_table", [False, True])
def test_counts_are_those_of_all_documents(tmp_path, monkeypatch, part_keys, item_characters, with_table):
    monkeypatch.setattr(counting, "_PART_KEYS", part_keys)
    made = items(tmp_path / "d", item_characters)
    table = None
    if with_table:
        table = tmp_path / "out" / "chunks"
        build_table(made, RECIPE, call(tmp_path / "out"), table)
    counts = count_words_on_pool(made, RECIPE, call(tmp_path / "out"), table, Kept(10**6))
    splitter = WordSplitter(RECIPE)
    words = Counter(token for text in TEXTS for token in splitter.tokens(text) if token not in SPECIALS)
    assert counts == count_words(TEXTS, splitter)
    assert counts.words == words
    assert not (tmp_path / "out" / "words").exists()


def test_the_most_frequent_and_the_wanted_are_kept(tmp_path):
    made = items(tmp_path / "d", 10**6)
    counts = count_words_on_pool(made, RECIPE, call(tmp_path / "out"), None, Kept(2, frozenset({"39", "zebra"})))
    whole = count_words(TEXTS, WordSplitter(RECIPE))
    assert set(counts.words) >= {"39"}
    assert len(counts.words) == 3
    assert (counts.types, counts.tokens, counts.characters) == (whole.types, whole.tokens, whole.characters)


def test_a_table_has_the_same_bytes_however_the_items_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "_PART_KEYS", 10**6)
    for name, characters in (("one", 10**6), ("many", 300)):
        build_table(items(tmp_path / f"d-{name}", characters), RECIPE, call(tmp_path / name), tmp_path / name / "c")
    files = [sorted((tmp_path / name / "c").glob("part-*")) for name in ("one", "many")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_a_table_knows_its_items_and_is_not_made_twice(tmp_path):
    made = items(tmp_path / "d", 300)
    build_table(made, RECIPE, call(tmp_path), tmp_path / "c")
    written = (tmp_path / "c" / "table.json").stat().st_mtime_ns
    build_table(made, RECIPE, call(tmp_path), tmp_path / "c")
    assert (tmp_path / "c" / "table.json").stat().st_mtime_ns == written
    assert covers(tmp_path / "c", [item.digest for item in made])
    splitter = WordSplitter(RECIPE)
    memo = ChunkMemo(splitter, ChunkTable(tmp_path / "c", splitter.identity))
    memo.encode(["The boat OUT,"])
    assert memo.missed == 0


def test_rare_chunks_fall_out_of_a_bounded_table(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "_MAX_TABLE_CHUNKS", 4)
    build_table(items(tmp_path / "d", 300), RECIPE, call(tmp_path), tmp_path / "c")
    splitter = WordSplitter(RECIPE)
    found = ChunkTable(tmp_path / "c", splitter.identity).find(["Elvis'", "39"])
    assert found[0] is not None
    assert found[0][0] == ["xxmaj", "elvis", "'"]
    assert found[1] is None
