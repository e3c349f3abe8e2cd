"""Verification of a folder tree: every flipped bit is found and named, whatever kind of folder it lies in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import Document, document_id, read_item, work_items, write_documents
from ulmfit_dist.corpus.stream import read_manifest, write_manifest, write_shard
from ulmfit_dist.corpus.verify import verify_path, verify_retokenized
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.files import digest_file, write_json
from ulmfit_dist.stage import StageCall, StageKind, Summary, run_stage
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.tokenizer import Encoded, load_tokenizer
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
    kind = StageKind("tokenize", 1, _tokenize)
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
        assert [str(path) in str(error) for error in found] == [True]
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["train/shard-00000.h5", "train/manifest.json", "recipe.toml"])
def test_the_repair_of_what_a_stage_made_is_that_stage(tree: Path, name: str) -> None:
    (tree / "stage" / name).write_bytes(b"other")
    found = [str(error) for _, errors in verify_path(tree) for error in errors]
    assert len(found) == 1
    assert f"do: delete {tree / 'stage'} and run the same command again" in found[0]


def test_the_repair_is_the_stage_also_of_a_stream_verified_alone(tree: Path) -> None:
    (tree / "stage" / "train" / "manifest.json").write_bytes(b"other")
    ((_, errors),) = verify_path(tree / "stage" / "train")
    assert [f"do: delete {tree / 'stage'} and run the same command again" in str(error) for error in errors] == [True]


def test_the_repair_of_a_stream_that_no_stage_made_is_its_command(tree: Path) -> None:
    (tree / "stage" / "stage.json").unlink()
    (tree / "stage" / "train" / "shard-00000.h5").unlink()
    found = [str(error) for _, errors in verify_path(tree) for error in errors]
    assert len(found) == 1
    assert f"do: delete {tree / 'stage' / 'train'} and run the command that made it again" in found[0]


def test_a_file_that_is_missing_is_named_once(tree: Path) -> None:
    for path in (tree / "stage" / "train").glob("*.h5"):
        path.unlink()
    found = [str(error) for _, errors in verify_path(tree) for error in errors]
    assert len(found) == len(set(found)) == len(read_manifest(tree / "stage" / "train").shards)
    assert all("found: no file" in error for error in found)


def test_a_checkpoint_of_an_unfinished_training_is_verified_too(tree: Path) -> None:
    folder = tree / "pretrain" / "checkpoints" / "step-000000005"
    folder.mkdir(parents=True)
    (folder / "state.json").write_bytes(b"{}")
    files = {"state.json": {"bytes": 2, "xxh3_128": digest_file(folder / "state.json")}}
    write_json(folder / "manifest.json", {"format": 1, "step": 5, "files": files})
    assert not any(errors for _, errors in verify_path(tree))
    (folder / "state.json").write_bytes(b"{]")
    assert [str(folder / "state.json") in str(error) for error in dict(verify_path(tree))[folder]] == [True]


def test_a_document_folder_without_documents_is_good(tree: Path) -> None:
    write_documents(tree / "documents" / "valid", [], 400)
    assert dict(verify_path(tree))[tree / "documents" / "valid"] == []


def test_a_stream_that_another_tokenizer_would_give_is_found(tree: Path) -> None:
    recipe = WordRecipe(min_freq=1, max_vocab=30)
    WordTokenizer(recipe, build_vocabulary(count_words(TEXTS, WordSplitter(recipe)), recipe)).save(tree / "words")
    bad = verify_retokenized(tree / "stage", 30)
    assert len(bad) > 20
    assert "tokenize again" in str(bad[0])


def test_documents_are_tokenized_again_by_the_reference(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = WordTokenizer.encode_reference
    seen: list[str] = []

    def watched(self: WordTokenizer, texts: list[str]) -> list[Encoded]:
        seen.extend(texts)
        return reference(self, texts)

    monkeypatch.setattr(WordTokenizer, "encode_reference", watched)
    monkeypatch.setattr(WordTokenizer, "encode", lambda *_: pytest.fail("the memo is not asked"))
    assert verify_retokenized(tree / "stage", 12) == []
    assert len(set(seen)) == len(seen) == 12
    assert set(seen) < set(TEXTS)


def test_only_the_work_items_of_the_sample_are_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    monkeypatch.setattr("ulmfit_dist.corpus.verify.read_item", lambda item: reads.append(item) or read_item(item))
    assert verify_retokenized(tree / "stage", 1) == []
    assert len(reads) == 1 < len(work_items(tree / "documents" / "train"))


def test_a_shard_with_the_tokens_of_another_text_is_found(tree: Path) -> None:
    texts = [text.replace("liked", "loved") if " 7 " in text else text for text in TEXTS]
    tokenizer = load_tokenizer(tree / "words")
    folder = tree / "stage" / "train"
    receipts = []
    for receipt in read_manifest(folder).shards:
        item = next(item for item in work_items(tree / "documents" / "train") if item.digest == receipt.item_digest)
        documents = read_item(item)
        wrong = [texts[TEXTS.index(document.text)] for document in documents]
        pairs = [(document.id, ids) for document, ids in zip(documents, tokenizer.encode(wrong), strict=True)]
        receipts.append(write_shard(folder / receipt.name, pairs, tokenizer, receipt.item_digest))
    write_manifest(folder, receipts, tokenizer)
    bad = verify_retokenized(tree / "stage", 30)
    assert [document_id("t", "7") in str(error) for error in bad] == [True]


def test_documents_that_are_gone_or_damaged_are_said(tree: Path) -> None:
    path = next((tree / "documents" / "train").glob("*.parquet"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert all("is damaged" in str(error) for error in verify_retokenized(tree / "stage", 3))
    others = [Document(id=document_id("t", str(i)), text=text + "!") for i, text in enumerate(TEXTS)]
    write_documents(tree / "documents" / "train", others, 400)
    bad = verify_retokenized(tree / "stage", 3)
    assert ["its work item is not among the documents" in str(error) for error in bad] == [True] * 3


def test_nothing_to_verify_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to verify"):
        list(verify_path(tmp_path))
    with pytest.raises(InputError, match="not a tokenize stage"):
        verify_retokenized(tmp_path, 3)
