"""The predictor on a classifier folder with random weights, alone and as an ensemble."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ulmfit_dist.errors import InputError
from ulmfit_dist.files import write_json
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.folder import save_classifier
from ulmfit_dist.models.awd_lstm import AWDLSTM
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.models.targets import TargetConfig
from ulmfit_dist.serve.predictor import Predictor
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer

TEXTS = ["a good film", "", "bad", "good good bad film a a a good bad bad film", "слово"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = WordRecipe(max_vocab=20, min_freq=1)
    tokenizer = WordTokenizer(recipe, build_vocabulary(count_words(["a good bad film"], WordSplitter(recipe)), recipe))
    encoder = AWDLSTM(tokenizer.vocab_size, AWDLSTMSettings(embedding_size=6, hidden_size=8), tokenizer.pad_id, seed=3)
    model = TextClassifier(encoder, 3, ClassifierSettings(bptt=4), seed=4)
    with torch.no_grad():
        model.head.linears[0].weight.mul_(20)  # type: ignore[operator]
    out = tmp_path_factory.mktemp("model")
    config = ModelConfig(kind="classifier", unit="word", direction="forward", labels=["x", "y", "z"])
    save_classifier(out / "members" / "m", model, tokenizer, config)
    return out


def test_a_model_folder_predicts_in_input_order(folder: Path) -> None:
    predictor = Predictor.open(folder / "members" / "m")
    assert predictor.labels == ("x", "y", "z")
    found = predictor.predict(TEXTS)
    assert found.sum(1) == pytest.approx(np.ones(5))
    assert np.ptp(found, axis=0).max() > 0.001
    for i, text in enumerate(TEXTS):
        assert predictor.predict([text])[0] == pytest.approx(found[i], abs=1e-6)
    assert predictor.predict([]).shape == (0, 3)


def test_an_ensemble_folder_is_taken_as_well(folder: Path) -> None:
    row = {"name": "m", "folder": "members/m", "unit": "word", "direction": "forward", "weight": 1.0}
    rows = [row | {"temperature": 1.0}, row | {"name": "n", "temperature": 3.0}]
    write_json(folder / "ensemble.json", {"labels": ["z", "y", "x"], "members": rows})
    predictor = Predictor.open(folder)
    own = Predictor.open(folder / "members" / "m").predict(TEXTS)[:, ::-1]
    flat = own ** (1 / 3) / (own ** (1 / 3)).sum(1, keepdims=True)  # softmax(log p / 3)
    assert predictor.labels == ("z", "y", "x")
    assert predictor.predict(TEXTS) == pytest.approx((own + flat) / 2, abs=1e-6)


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model folder"):
        Predictor.open(tmp_path / "nothing")
    with pytest.raises(InputError, match="not a model folder"):
        Predictor.open(tmp_path)


def test_answers_are_labels_from_their_thresholds_on_or_values(folder: Path) -> None:
    plain = Predictor.open(folder / "members" / "m")
    rows = plain.predict(TEXTS)
    assert [answer["label"] for answer in plain.answers(TEXTS)] == ["xyz"[i] for i in rows.argmax(1)]
    assert list(plain.answers(TEXTS)[1]["probabilities"].values()) == rows[1].tolist()

    def meaning(**target: object) -> Predictor:
        config = plain.ensemble.config.model_copy(update={"target": TargetConfig.model_validate(target)})
        return Predictor(dataclasses.replace(plain.ensemble, config=config))

    thresholds = [float(rows[0, 0]), 0.0, 1.0]
    several = meaning(kind="multilabel", thresholds=thresholds)
    found = several.predict(TEXTS)
    expected = [[name for name, p, t in zip("xyz", row, thresholds, strict=True) if p >= t] for row in found]
    assert [answer["labels"] for answer in several.answers(TEXTS)] == expected
    assert all("y" in labels and "z" not in labels for labels in expected)
    number = meaning(kind="regression")
    assert number.answers(TEXTS) == [{"value": float(row[0])} for row in number.predict(TEXTS)]


@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="no products of int8 here")
def test_int8_is_asked_for_and_near(folder: Path) -> None:
    exact = Predictor.open(folder / "members" / "m").predict(TEXTS)
    found = Predictor.open(folder / "members" / "m", "int8").predict(TEXTS)
    assert 0 < np.abs(found - exact).max() < 0.05
    for i, text in enumerate(TEXTS):
        assert Predictor.open(folder / "members" / "m", "int8").predict([text])[0] == pytest.approx(found[i], abs=1e-6)
