"""A member: what it learns and writes, the named schedules, and labels that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from ulmfit_dist.corpus.documents import read_documents
from ulmfit_dist.finetune.classifier import unfreezing_stages
from ulmfit_dist.finetune.predict import predict_texts
from ulmfit_dist.finetune.predictions import read_predictions
from ulmfit_dist.modelfolder.folder import load_classifier


def texts_of(folder: Path) -> list[str]:
    return [document.text for document in read_documents(folder)]


def test_a_classifier_learns_and_writes_its_validation_predictions(members: Path, task: Path) -> None:
    predictions = read_predictions(members / "word-forward" / "predictions-valid.parquet")["probabilities"]
    documents = list(read_documents(task / "valid"))
    assert predictions.ids == tuple(document.id for document in documents)
    assert predictions.labels == ("neg", "pos")
    model, tokenizer, config = load_classifier(members / "word-forward" / "model")
    again = predict_texts(model, tokenizer, "forward", [document.text for document in documents])
    assert again == pytest.approx(predictions.probabilities, abs=1e-6)
    predicted = np.array(["neg", "pos"])[predictions.probabilities.argmax(1)]
    score = accuracy_score([document.label for document in documents], predicted)
    assert config.training["metrics"]["accuracy"] == pytest.approx(score)
    assert score >= 0.75  # the sentences are decided by four words a class
    curves = json.loads((members / "word-forward" / "curves.json").read_text())
    assert len(curves["epochs"]) == 1 + 1 + 16


def test_named_schedules() -> None:
    def shape(name: Any) -> list[tuple[int, int, float]]:
        return [(stage.groups, stage.epochs, stage.lr) for stage in unfreezing_stages(name, 5, epochs=3, lr=0.1)]

    assert shape("2018") == [(1, 1, 0.1), (2, 1, 0.1), (0, 3, 0.1)]
    assert shape("paper") == [(1, 1, 0.1), (2, 1, 0.1), (3, 1, 0.1), (4, 1, 0.1), (0, 3, 0.1)]
    assert shape("v1") == [(1, 1, 0.1), (2, 1, 0.05), (3, 1, 0.025), (0, 3, pytest.approx(0.005))]
