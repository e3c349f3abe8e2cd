"""Predictions: input order, batch mates, the mirror."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ulmfit_dist.corpus.documents import read_documents
from ulmfit_dist.finetune.predict import open_classifier
from ulmfit_dist.modelfolder.folder import load_classifier


def texts_of(folder: Path) -> list[str]:
    return [document.text for document in read_documents(folder)]


def test_predictions_alone_equal_those_in_a_batch_and_keep_the_order(members: Path, task: Path) -> None:
    classifier = open_classifier(members / "subword-backward" / "model")
    texts = [*texts_of(task / "test"), "", "great " * 200]
    together = classifier.predict(texts)
    alone = np.concatenate([classifier.predict([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-6)
    assert classifier.predict(texts[::-1]) == pytest.approx(together[::-1], abs=1e-6)
    assert np.ptp(together[:, 0]) > 0.01


def test_a_backward_member_reads_the_mirror(members: Path) -> None:
    model, tokenizer, config = load_classifier(members / "subword-backward" / "model")
    assert config.direction == "backward"
    ids = tokenizer.encode(["the film was lovely ."])[0].ids.astype(np.int64)
    tokens = torch.from_numpy(ids[::-1].copy())[:, None]
    expected = torch.softmax(model(tokens, torch.ones_like(tokens, dtype=torch.bool)), 1).detach().numpy()
    found = open_classifier(members / "subword-backward" / "model").predict(["the film was lovely ."])
    assert found == pytest.approx(expected, abs=1e-6)
