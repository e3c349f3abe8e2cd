"""The Ray-free parts of the tokenization stages; the rest runs in tests/multiprocess/test_run.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster.tokenizing import TokenizeSettings, TrainTokenizerSettings, split_folders, train_tokenizer
from ulmfit_dist.config import parse_settings
from ulmfit_dist.corpus.documents import Document, document_id, write_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.recipe import SubwordRecipe, WordRecipe
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
