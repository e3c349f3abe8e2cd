"""The pretraining stage from token streams to a model folder, with a real tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ulmfit_dist.corpus.documents import document_id
from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import EventLog, Silent, read_events
from ulmfit_dist.files import read_json
from ulmfit_dist.modelfolder.folder import load_language_model
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.tokenizer import Tokenizer
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer
from ulmfit_dist.training.pretrain import PretrainSettings, run_pretraining

TEXTS = [f"The film number {i} was good and the end of film {i} was not." for i in range(30)]
SETTINGS = PretrainSettings.model_validate(
    {
        "language": "en",
        "model": {"embedding_size": 6, "hidden_size": 8, "num_layers": 1},
        "training": {"num_lanes": 4, "bptt": 10, "epochs": 1, "checkpoint_steps": 2},
    }
)


def _tokenizer(texts: list[str]) -> Tokenizer:
    recipe = WordRecipe(min_freq=2)
    return WordTokenizer(recipe, build_vocabulary(count_words(texts, WordSplitter(recipe)), recipe))


def _write_tokens(folder: Path, tokenizer: Tokenizer) -> None:
    for name, texts in (("train", TEXTS[:25]), ("valid", TEXTS[25:])):
        (folder / name).mkdir(parents=True)
        documents = [(document_id(name, str(i)), e) for i, e in enumerate(tokenizer.encode(texts))]
        receipt = write_shard(folder / name / "shard-00000.h5", documents, tokenizer, "0" * 32)
        write_manifest(folder / name, [receipt], tokenizer)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("inputs")
    tokenizer = _tokenizer(TEXTS)
    tokenizer.save(root / "tokenizer")
    _write_tokens(root / "tokens", tokenizer)
    return {"tokens": root / "tokens", "tokenizer": root / "tokenizer"}


def _call(inputs: dict[str, Path], out: Path, reporter: Any = None) -> StageCall[PretrainSettings]:
    return StageCall(SETTINGS, inputs, out, reporter or Silent())


def test_it_writes_a_model_folder_and_curves_and_sweeps_its_checkpoints(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = run_pretraining(_call(inputs, out, EventLog(out / "events.jsonl")))
    model, tokenizer, config = load_language_model(out / "model")
    assert model.encoder.vocab_size == tokenizer.vocab_size == summary["vocab_size"]
    assert summary["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert config.training["metrics"] == summary["metrics"]
    assert (config.direction, config.unit, config.language) == ("forward", "word", "en")
    curves = read_json(out / "curves.json")
    assert curves["epochs"][-1]["loss"] == summary["metrics"]["loss"]
    assert {"step", "tokens", "loss", "lr", "gradient_norm", "tokens_per_s"} <= set(curves["points"][0])
    assert not (out / "checkpoints").exists()
    assert list((out / "tensorboard").iterdir())
    kinds = {event["kind"] for event in read_events(out / "events.jsonl")}
    assert {"point", "validation", "progress"} <= kinds


def test_equal_inputs_give_equal_model_folders(inputs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        torch.manual_seed(len(name))
        run_pretraining(_call(inputs, tmp_path / name))
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one" / "model").rglob("*.*"))
    assert len(files) >= 4
    for name in [*files, Path("result.json")]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_called_again_after_its_end_it_does_nothing(inputs: dict[str, Path], tmp_path: Path) -> None:
    first = run_pretraining(_call(inputs, tmp_path / "out"))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert run_pretraining(_call(inputs, tmp_path / "out")) == first
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}


def test_with_a_cache_it_trains_on_copies_to_the_same_weights(inputs: dict[str, Path], tmp_path: Path) -> None:
    cached = SETTINGS.model_copy(update={"cache_dir": str(tmp_path / "cache")})
    log = EventLog(tmp_path / "events.jsonl")
    run_pretraining(_call(inputs, tmp_path / "one"))
    run_pretraining(StageCall(cached, inputs, tmp_path / "two", log))
    assert [
        event["copied"] for event in read_events(tmp_path / "events.jsonl") if event["kind"] == "stream-staged"
    ] == [1, 1]
    assert len(list((tmp_path / "cache" / "shards").iterdir())) == 2
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]


def test_tokens_of_another_tokenizer_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    _tokenizer([*TEXTS, "another word another word"]).save(tmp_path / "tokenizer")
    with pytest.raises(InputError, match="were not made by the tokenizer"):
        run_pretraining(_call({**inputs, "tokenizer": tmp_path / "tokenizer"}, tmp_path / "out"))
