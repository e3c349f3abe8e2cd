"""A quasi-recurrent model through every stage: pretraining, fine-tuning, classifier, and the folders between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ulmfit_dist.corpus.documents import Document, document_id, write_documents
from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.errors import StoppedError
from ulmfit_dist.events import Silent
from ulmfit_dist.files import read_json
from ulmfit_dist.finetune.classifier import TrainClassifierSettings, train_classifier
from ulmfit_dist.finetune.lm import FinetuneLMSettings, finetune_lm
from ulmfit_dist.modelfolder.folder import load_classifier, load_language_model
from ulmfit_dist.models.qrnn import QRNN
from ulmfit_dist.models.settings import QRNNSettings
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer
from ulmfit_dist.training.pretrain import PretrainSettings, run_pretraining
from ulmfit_dist.training.stop import STOP

SUBJECTS = ("the film", "this movie", "her acting", "the plot", "every scene")
ENDINGS = {"pos": ("is great fun", "was a joy", "was lovely"), "neg": ("is a mess", "was awful", "was painful")}
MODEL = {"encoder": "qrnn", "embedding_size": 12, "hidden_size": 20, "num_layers": 3}
LM = {"num_lanes": 4, "bptt": 10, "valid_lanes": 2, "device": "cpu", "lr": 0.02}


def _documents(split: str, count: int) -> list[Document]:
    out = []
    for i in range(count):
        label = ("neg", "pos")[i % 2]
        parts = [f"{SUBJECTS[(i + k) % 5]} {ENDINGS[label][(i // 2 + k) % 3]}" for k in range(1 + i % 3)]
        out.append(Document(document_id(split, str(i)), " and ".join(parts) + " .", label=label))
    return out


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("inputs")
    splits = {"train": _documents("train", 60), "valid": _documents("valid", 16)}
    texts = [document.text for document in splits["train"]]
    recipe = WordRecipe(min_freq=1)
    tokenizer = WordTokenizer(recipe, build_vocabulary(count_words(texts, WordSplitter(recipe)), recipe))
    tokenizer.save(root / "tokenizer")
    for split, documents in splits.items():
        write_documents(root / split, documents, 800)
        (root / "tokens" / split).mkdir(parents=True)
        encoded = tokenizer.encode([document.text for document in documents])
        pairs = [(document.id, one) for document, one in zip(documents, encoded, strict=True)]
        receipt = write_shard(root / "tokens" / split / "shard-00000.h5", pairs, tokenizer, "0" * 32)
        write_manifest(root / "tokens" / split, [receipt], tokenizer)
    return {name: root / name for name in ("tokenizer", "tokens", "train", "valid")}


@pytest.fixture(autouse=True)
def _clear() -> Iterator[None]:
    yield
    STOP.clear()


class StopAfter(Silent):
    """Asks for a stop as a signal would, after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def progress(self, done: float, total: float, **metrics: Any) -> None:
        self.left -= 1
        if self.left == 0:
            STOP.request()


def _pretrain(inputs: dict[str, Path], out: Path, reporter: Silent | None = None) -> Summary:
    settings = PretrainSettings.model_validate({"model": MODEL, "drop_mult": 0.3, "training": {**LM, "epochs": 6}})
    chosen = {name: inputs[name] for name in ("tokenizer", "tokens")}
    return run_pretraining(StageCall(settings, chosen, out, reporter or Silent()))


@pytest.fixture(scope="module")
def pretrained(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained")
    _pretrain(inputs, out)
    return out


def test_it_learns_and_its_folder_says_what_it_is(pretrained: Path) -> None:
    epochs = read_json(pretrained / "curves.json")["epochs"]
    assert epochs[-1]["loss"] < epochs[0]["loss"] - 0.3
    model, _, config = load_language_model(pretrained / "model")
    assert isinstance(model.encoder, QRNN)
    assert isinstance(config.architecture, QRNNSettings)
    assert config.architecture == QRNNSettings.model_validate(MODEL).scaled(0.3)
    assert read_json(pretrained / "model" / "config.json")["architecture"]["encoder"] == "qrnn"
    card = (pretrained / "model" / "README.md").read_text(encoding="utf-8")
    assert "# QRNN language model" in card
    assert "LSTM" not in card.upper()


@pytest.mark.parametrize("stop", [1, 7, 40])
def test_stopped_and_continued_it_ends_bit_equal(
    inputs: dict[str, Path], pretrained: Path, tmp_path: Path, stop: int
) -> None:
    with pytest.raises(StoppedError):
        _pretrain(inputs, tmp_path, StopAfter(stop))
    STOP.clear()
    _pretrain(inputs, tmp_path)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "model" / name).read_bytes() == (pretrained / "model" / name).read_bytes()


def test_a_classifier_on_it_learns_and_comes_back_the_same(
    inputs: dict[str, Path], pretrained: Path, tmp_path: Path
) -> None:
    splits = {name: inputs[name] for name in ("train", "valid")}
    tuning = FinetuneLMSettings.model_validate({"min_freq": 1, "drop_mult": 0.2, "training": {**LM, "epochs": 1}})
    finetune_lm(StageCall(tuning, {"model": pretrained / "model", **splits}, tmp_path / "lm", Silent()))
    tuned, _, config = load_language_model(tmp_path / "lm" / "model")
    # The dropouts are those of MultiFiT's language model again, whatever the pretraining used.
    assert config.architecture == QRNNSettings.model_validate(MODEL).scaled(0.2)
    training = {"batch_size": 8, "layer_ratio": 1.0, "device": "cpu"}
    values = {"epochs": 16, "lr": 0.03, "drop_mult": 0.1, "training": training, "classifier": {"bptt": 6}}
    settings = TrainClassifierSettings.model_validate(values)
    inputs = {"model": tmp_path / "lm" / "model", **splits}
    summary = train_classifier(StageCall(settings, inputs, tmp_path / "classifier", Silent()))
    assert summary["metrics"]["accuracy"] >= 0.9
    model, tokenizer, config = load_classifier(tmp_path / "classifier" / "model")
    assert isinstance(model.encoder, QRNN)
    assert config.labels == ["neg", "pos"]
    assert model.encoder.embedding.shape == tuned.encoder.embedding.shape
    (encoded,) = tokenizer.encode(["every scene was a joy ."])
    tokens = torch.from_numpy(encoded.ids.astype("int64"))[:, None]
    with torch.no_grad():
        assert int(model(tokens, torch.ones_like(tokens, dtype=torch.bool)).argmax()) == 1
