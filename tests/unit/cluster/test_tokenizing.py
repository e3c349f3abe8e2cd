"""The Ray-free parts of the tokenization stages; the rest runs in tests/multiprocess/test_run.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ulmfit_dist.cluster import tokenizing
from ulmfit_dist.cluster.tokenizing import (
    TokenizeSettings,
    TrainTokenizerSettings,
    split_folders,
    tokenize,
    train_tokenizer,
)
from ulmfit_dist.config import parse_settings
from ulmfit_dist.corpus.bylanguage import KIND
from ulmfit_dist.corpus.documents import Document, document_id, write_documents
from ulmfit_dist.corpus.manifest import read_stream_labels
from ulmfit_dist.errors import DataError, InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.files import write_json
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.recipe import SubwordRecipe, WordRecipe
from ulmfit_dist.tokenization.special import SPECIALS
from ulmfit_dist.tokenization.tokenizer import load_tokenizer


def _write(folder: Path, count: int, word: str = "sea") -> None:
    texts = [f"The boat number {i} went out to {word} {i * 7} times in the year ." for i in range(count)]
    write_documents(folder, [Document(document_id(folder.name, t), t) for t in texts], 500)


def test_a_folder_is_one_stream_or_one_a_split(tmp_path: Path) -> None:
    _write(tmp_path / "one", 3)
    assert split_folders(tmp_path / "one") == {"": tmp_path / "one"}
    _write(tmp_path / "all" / "train", 3)
    _write(tmp_path / "all" / "valid", 1)
    assert set(split_folders(tmp_path / "all")) == {"train", "valid"}
    with pytest.raises(InputError, match="holds no documents; found: no such folder; do: .*ulmfit ingest"):
        split_folders(tmp_path / "nowhere")


def test_a_language_that_the_crawl_has_not_is_said_in_its_own_words(tmp_path: Path) -> None:
    languages = {"fi": {"train": {"documents": 3, "characters": 9}, "valid": {"documents": 1, "characters": 3}}}
    languages["de"] = {"train": {"documents": 1200, "characters": 9000}}
    summary = {"languages": languages, "left_out": {"und": 7, "multi": 2}}
    write_json(tmp_path / "stage.json", {"kind": KIND, "summary": summary})
    with pytest.raises(DataError, match="the corpus has no training document in km") as caught:
        split_folders(tmp_path / "km")
    assert caught.value.found == "documents in de 1,200, fi 4; 9 in none or several languages"
    assert "[languages]" in caught.value.do


def test_a_tokenizer_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    _write(tmp_path / "documents" / "train", 60)
    _write(tmp_path / "documents" / "valid", 60, word="qqqq")
    recipe = SubwordRecipe(language="en", vocab_size=40, character_coverage=1.0)
    call = StageCall(
        TrainTokenizerSettings(recipe=recipe), {"documents": tmp_path / "documents"}, tmp_path / "out", Silent()
    )
    summary = train_tokenizer(call)
    assert summary["vocab_size"] == 40
    assert load_tokenizer(tmp_path / "out").encode(["qqqq"])[0].unknown > 0


def test_documents_without_a_training_split_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "documents" / "valid", 3)
    settings = TrainTokenizerSettings(recipe=WordRecipe())
    with pytest.raises(InputError, match="no training documents.*found: splits valid"):
        train_tokenizer(StageCall(settings, {"documents": tmp_path / "documents"}, tmp_path / "out", Silent()))


def test_workers_do_not_change_what_a_stage_is() -> None:
    assert TokenizeSettings(workers=1).semantic() == TokenizeSettings(workers=64).semantic() == {}
    one = parse_settings(TrainTokenizerSettings, {"recipe": {"unit": "word"}, "workers": 1}, "r")
    other = parse_settings(TrainTokenizerSettings, {"recipe": {"unit": "word"}, "workers": 9}, "r")
    assert one.semantic() == other.semantic()


def _words(folder: Path, documents: Path, **inputs: Path) -> dict[str, object]:
    settings = TrainTokenizerSettings(recipe=WordRecipe(min_freq=1, max_vocab=40))
    return train_tokenizer(StageCall(settings, {"documents": documents, **inputs}, folder, Silent()))


def _stream(folder: Path, documents: Path, tokenizer: Path, workers: int) -> dict[str, bytes]:
    tokenize(
        StageCall(TokenizeSettings(workers=workers), {"documents": documents, "tokenizer": tokenizer}, folder, Silent())
    )
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_stream_is_the_same_with_any_chunk_table_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "documents", 60)
    _words(tmp_path / "plain", tmp_path / "documents")
    assert not (tmp_path / "plain" / "chunks").exists()
    expected = _stream(tmp_path / "s0", tmp_path / "documents", tmp_path / "plain", 2)
    monkeypatch.setattr(tokenizing, "SHARED_FROM_CHARACTERS", 0)
    _words(tmp_path / "shared", tmp_path / "documents")
    assert (tmp_path / "shared" / "chunks" / "table.json").is_file()
    for name in ("vocabulary.json", "tokenizer.json"):
        assert (tmp_path / "shared" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert _stream(tmp_path / "s1", tmp_path / "documents", tmp_path / "shared", 2) == expected
    assert _stream(tmp_path / "s2", tmp_path / "documents", tmp_path / "plain", 8) == expected


def test_a_vocabulary_is_reused_and_reported(tmp_path: Path) -> None:
    _write(tmp_path / "documents", 60)
    itos = [*SPECIALS, "boat", "the", "zebra"]
    (tmp_path / "itos.json").write_text(json.dumps(itos))
    summary = _words(tmp_path / "out", tmp_path / "documents", vocabulary=tmp_path / "itos.json")
    tokenizer = load_tokenizer(tmp_path / "out")
    assert tokenizer.encode(["the zebra boat"])[0].ids.tolist() == [2, 11, 12, 10]
    assert (summary["vocab_size"], summary["known_types"], summary["unused"]) == (13, 2, 1)
    assert summary["frequent_unknown"][0] == (".", 60)
    (tmp_path / "itos.json").write_text(json.dumps(itos[1:]))
    with pytest.raises(InputError, match="does not begin with the special tokens"):
        _words(tmp_path / "other", tmp_path / "documents", vocabulary=tmp_path / "itos.json")


def test_several_labels_lie_beside_the_tokens(tmp_path: Path) -> None:
    pairs = [("a b", "x\x1f1"), ("c", "y\x1f2"), ("d e f", "x\x1f3")]
    made = [Document(document_id("d", text), text, label=label) for text, label in pairs]
    write_documents(tmp_path / "documents", made, 4, label_names=("kind", "stars"))
    _words(tmp_path / "words", tmp_path / "documents")
    _stream(tmp_path / "s", tmp_path / "documents", tmp_path / "words", 1)
    assert read_stream_labels(tmp_path / "s", "kind") == ["x", "y", "x"]
    assert read_stream_labels(tmp_path / "s", "stars") == ["1", "2", "3"]
