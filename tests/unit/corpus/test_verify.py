"""Verification of a folder tree: every flipped bit is found and named, whatever kind of folder it lies in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import Document, document_id, read_item, work_items, write_documents
from ulmfit_dist.corpus.stream import write_manifest, write_shard
from ulmfit_dist.corpus.verify import verify_path, verify_retokenized
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall, StageKind, Summary, run_stage
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.tokenizer import load_tokenizer
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer

TEXTS = [f"The film number {i} was not bad , and I liked it ." for i in range(30)]


class Nothing(Settings):
    """A stage without settings."""


def _tokenize(call: StageCall[Nothing]) -> Summary:
    tokenizer = load_tokenizer(call.inputs["tokenizer"])
    receipts = []
    for item in work_items(call.inputs["documents"] / "train"):
        documents = read_item(item)
        encoded = tokenizer.encode([document.text for document in documents])
        pairs = [(document.id, ids) for document, ids in zip(documents, encoded, strict=True)]
        receipts.append(write_shard(call.out / "train" / f"shard-{item.index:05d}.h5", pairs, tokenizer, item.digest))
    write_manifest(call.out / "train", receipts, tokenizer)
    return {}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    documents = [Document(id=document_id("t", str(i)), text=text) for i, text in enumerate(TEXTS)]
    write_documents(tmp_path / "documents" / "train", documents, 400)
    recipe = WordRecipe(min_freq=1)
    WordTokenizer(recipe, build_vocabulary(count_words(TEXTS, WordSplitter(recipe)), recipe)).save(tmp_path / "words")
    inputs = {"documents": tmp_path / "documents", "tokenizer": tmp_path / "words"}
    kind = StageKind("tokenize", 1, Nothing, _tokenize)
    run_stage(kind, StageCall(Nothing(), inputs, tmp_path / "stage", Silent()), "a" * 32)
    return tmp_path


def test_an_undamaged_tree_is_good(tree: Path) -> None:
    checked = dict(verify_path(tree))
    assert set(checked) == {tree / "stage", tree / "stage" / "train", tree / "documents" / "train"}
    assert not any(checked.values())
    assert verify_retokenized(tree / "stage", 10) == []


@pytest.mark.parametrize("pattern", ["stage/train/*.h5", "stage/train/manifest.json", "documents/train/*.parquet"])
def test_a_flipped_bit_is_found_and_named(tree: Path, pattern: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        path = min(tree.glob(pattern))
        whole = path.read_bytes()
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        found = [error for _, errors in verify_path(tree) for error in errors]
        assert found
        assert all(path.name in str(error) for error in found)
        path.write_bytes(whole)


def test_a_stream_that_another_tokenizer_would_give_is_found(tree: Path) -> None:
    recipe = WordRecipe(min_freq=1, max_vocab=30)
    WordTokenizer(recipe, build_vocabulary(count_words(TEXTS, WordSplitter(recipe)), recipe)).save(tree / "words")
    bad = verify_retokenized(tree / "stage", 30)
    assert len(bad) > 20
    assert "tokenize again" in str(bad[0])


def test_nothing_to_verify_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to verify"):
        list(verify_path(tmp_path))
    with pytest.raises(InputError, match="not a tokenize stage"):
        verify_retokenized(tmp_path, 3)
