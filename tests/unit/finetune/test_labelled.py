"""Labels that do not fit are refused, and named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import Document, read_documents, write_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.finetune.classifier import TrainClassifierSettings, train_classifier
from ulmfit_dist.finetune.evaluate import EvaluateSettings, evaluate
from ulmfit_dist.stage import StageCall

EVALUATE = EvaluateSettings(mistakes=5)
CLASSIFIER = TrainClassifierSettings()


def call(settings: Settings, out: Path, **inputs: Path) -> StageCall[Any]:
    return StageCall(settings, inputs, out, Silent())


def relabelled(task: Path, split: str, out: Path, labels: list[str | None]) -> Path:
    documents = [
        Document(d.id, d.text, label=labels[i % len(labels)]) for i, d in enumerate(read_documents(task / split))
    ]
    write_documents(out, documents, 1000)
    return out


def test_labels_that_do_not_fit_are_named(members: Path, ensemble: Path, task: Path, tmp_path: Path) -> None:
    inputs = {"model": members / "lm-word-forward" / "model", "train": task / "train", "valid": task / "valid"}
    unseen = relabelled(task, "test", tmp_path / "unseen", ["pos", "great"])
    with pytest.raises(InputError, match="'great' on 6 documents"):
        evaluate(call(EVALUATE, tmp_path / "out", ensemble=ensemble, test=unseen))
    with pytest.raises(InputError, match="not trained on"):
        train_classifier(call(CLASSIFIER, tmp_path / "out", **(inputs | {"valid": unseen})))
    one = relabelled(task, "train", tmp_path / "one", ["pos"])
    with pytest.raises(InputError, match="only 'pos'"):
        train_classifier(call(CLASSIFIER, tmp_path / "out", **(inputs | {"train": one})))
    missing = relabelled(task, "train", tmp_path / "missing", ["pos", None])
    with pytest.raises(InputError, match="20 of 40"):
        train_classifier(call(CLASSIFIER, tmp_path / "out", **(inputs | {"train": missing})))
    write_documents(tmp_path / "empty", [], 1000)
    with pytest.raises(InputError, match="no documents"):
        evaluate(call(EVALUATE, tmp_path / "out", ensemble=ensemble, test=tmp_path / "empty"))
