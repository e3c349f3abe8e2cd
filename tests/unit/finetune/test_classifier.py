"""A member: what it learns and writes, the named schedules, and labels that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

from ulmfit_dist.corpus.documents import Document, read_documents, write_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.files import write_json
from ulmfit_dist.finetune.classifier import TrainClassifierSettings, train_as_rank, train_classifier
from ulmfit_dist.finetune.members import open_ensemble
from ulmfit_dist.finetune.predict import encode_documents, predict_encoded
from ulmfit_dist.finetune.predictions import read_predictions
from ulmfit_dist.modelfolder.folder import load_classifier, load_language_model
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.rawtext import join_fields
from ulmfit_dist.training.classifier import ClassifierTrainingSettings
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.pretrain import RESULT_NAME


def texts_of(folder: Path) -> list[str]:
    return [document.text for document in read_documents(folder)]


def test_a_classifier_learns_and_writes_its_validation_predictions(members: Path, task: Path) -> None:
    predictions = read_predictions(members / "word-forward" / "predictions-valid.parquet")["probabilities"]
    documents = list(read_documents(task / "valid"))
    assert predictions.ids == tuple(document.id for document in documents)
    assert predictions.labels == ("neg", "pos")
    model, tokenizer, config = load_classifier(members / "word-forward" / "model")
    texts = [document.text for document in documents]
    again = predict_encoded(model, encode_documents(tokenizer, "forward", texts))
    assert again == pytest.approx(predictions.probabilities, abs=1e-6)
    predicted = np.array(["neg", "pos"])[predictions.probabilities.argmax(1)]
    score = accuracy_score([document.label for document in documents], predicted)
    assert config.training["metrics"]["accuracy"] == pytest.approx(score)
    assert score >= 0.75  # the sentences are decided by four words a class
    curves = json.loads((members / "word-forward" / "curves.json").read_text())
    assert len(curves["epochs"]) == 1 + 1 + 16


SMALL = ClassifierTrainingSettings(batch_size=8, layer_ratio=1.0, device="cpu", log_points=10)


def _train(tmp_path: Path, model: Path, train: list[Document], names: list[str], **settings: Any) -> tuple[Path, Any]:
    """Train on documents and validate on the same ones: can it be learned at all."""
    write_documents(tmp_path / "documents", train, 10_000, names)
    chosen = TrainClassifierSettings(epochs=40, unfreezing="multifit", drop_mult=0.1, training=SMALL, **settings)
    inputs = {"model": model, "train": tmp_path / "documents", "valid": tmp_path / "documents"}
    summary = train_classifier(StageCall(chosen, inputs, tmp_path / "out", Silent()))
    return tmp_path / "out" / "model", summary


def _relabelled(task: Path, label: Callable[[Document], str]) -> list[Document]:
    return [replace(document, label=label(document)) for document in read_documents(task / "train")]


def test_several_label_columns_are_several_labels(tmp_path: Path, word_model: Path, task: Path) -> None:
    def label(document: Document) -> str:
        return "\x1f".join(("1" if document.label == "pos" else "0", "yes" if "film" in document.text else "no"))

    model, summary = _train(tmp_path, word_model, _relabelled(task, label), ["kind", "film"])
    assert summary["labels"] == ["kind", "film"]
    assert summary["metrics"]["micro_f1"] >= 0.8
    opened = open_ensemble(model)
    assert opened.config.target.kind == "multilabel"
    assert len(opened.config.target.thresholds) == 2
    found = opened.predict(["the film was lovely"])
    assert ((found > 0) & (found < 1)).all()
    # Two labels are no two classes: their probabilities need not sum to one.
    assert abs(float(found.sum()) - 1) > 1e-3


def test_several_labels_in_one_column(tmp_path: Path, word_model: Path, task: Path) -> None:
    def label(document: Document) -> str:
        return "; ".join([str(document.label), *(["film"] if "film" in document.text else [])])

    model, summary = _train(tmp_path, word_model, _relabelled(task, label), ["label"], targets={"separator": ";"})
    assert summary["labels"] == ["film", "neg", "pos"]
    assert open_ensemble(model).config.target.separator == ";"


def test_a_scale_and_a_number(tmp_path: Path, word_model: Path, task: Path) -> None:
    def stars(document: Document) -> str:
        return str(1 + 9 * (document.label == "pos"))

    targets = {"kind": "ordinal"}
    _, summary = _train(tmp_path / "ordinal", word_model, _relabelled(task, stars), ["stars"], targets=targets)
    assert summary["labels"] == ["1", "10"]
    assert summary["metrics"]["accuracy"] >= 0.8
    assert summary["metrics"]["mae"] <= 0.2
    targets = {"kind": "regression"}
    model, summary = _train(tmp_path / "regression", word_model, _relabelled(task, stars), ["stars"], targets=targets)
    assert summary["metrics"]["r2"] >= 0.5
    read = [document.text for document in read_documents(task / "train")]
    given = [float(stars(document)) for document in read_documents(task / "train")]
    predicted = open_ensemble(model).predict(read)[:, 0]
    # In stars again: against them, values in standard deviations would explain nothing.
    assert r2_score(given, predicted) == pytest.approx(summary["metrics"]["r2"], abs=1e-4)
    assert abs(predicted.mean() - np.mean(given)) < 1
    good, bad = open_ensemble(model).predict(["the film was lovely", "the film was awful"])[:, 0]
    assert good > 5.5 > bad


def test_a_part_of_the_labels_and_pseudo_labels_for_the_rest(tmp_path: Path, word_model: Path, task: Path) -> None:
    training = SMALL.model_copy(update={"seed": 2})
    pseudo = {"rounds": 2, "confidence": 0.6}
    settings = TrainClassifierSettings(
        epochs=60, unfreezing="multifit", drop_mult=0.1, train_size=16, pseudo=pseudo, training=training
    )
    inputs = {"model": word_model, "train": task / "train", "valid": task / "valid"}
    with pytest.raises(InputError, match="need unlabelled documents"):
        train_classifier(StageCall(settings, inputs, tmp_path / "without", Silent()))
    inputs["unlabelled"] = task / "train"
    summary = train_classifier(StageCall(settings, inputs, tmp_path / "out", Silent()))
    assert summary["documents"] == 16
    assert [row["round"] for row in summary["rounds"]] == [1, 2]
    taken = summary["rounds"][1]["pseudo_labels"]
    assert 4 <= sum(taken.values()) <= 40
    assert abs(taken["neg"] - taken["pos"]) <= 1
    assert not list((tmp_path / "out").glob("checkpoints*/*"))
    _, _, config = load_classifier(tmp_path / "out" / "model")
    assert "unlabelled" in config.training["documents"]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_text_fields_are_marked_where_they_start(tmp_path: Path, word_model: Path, direction: str) -> None:
    _, tokenizer, _ = load_language_model(word_model)
    ids = encode_documents(tokenizer, direction, [join_fields(["the film", "was awful"])])[0]  # type: ignore[arg-type]
    words = [tokenizer.vocabulary.itos[i] for i in ids]  # type: ignore[attr-defined]
    expected = ["xxbos", "xxfld", "1", "the", "film", "xxfld", "2", "was", "awful"]
    # The tiny vocabulary has no digits.
    expected = ["xxunk" if word.isdigit() else word for word in expected]
    assert words == (expected if direction == "forward" else expected[::-1])


def test_more_ranks_than_documents_of_a_batch_are_refused(tmp_path: Path) -> None:
    settings = TrainClassifierSettings.model_validate({"training": {"batch_size": 2}})
    with pytest.raises(InputError, match="3 ranks for batches of 2"):
        train_as_rank(StageCall(settings, {}, tmp_path, Silent()), Group(rank=0, world_size=3))


def test_a_rank_of_a_finished_training_only_gives_its_summary(tmp_path: Path) -> None:
    write_json(tmp_path / RESULT_NAME, {"documents": 7})
    assert train_as_rank(StageCall(TrainClassifierSettings(), {}, tmp_path, Silent()), Group(1, 2)) == {"documents": 7}
