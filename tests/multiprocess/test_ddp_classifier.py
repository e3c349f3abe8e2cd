"""Two real ranks (gloo, two processes) train the classifier that one does; run as a script this is one of the ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from ulmfit_dist.events import Silent
from ulmfit_dist.files import read_json, write_json
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.classifier import (
    ClassifierData,
    ClassifierResult,
    ClassifierTrainingSettings,
    train_classifier_loop,
)

SIZES = AWDLSTMSettings(embedding_size=6, hidden_size=8, num_layers=2)
# 31 documents in batches of 5 leave one of six; the chunks are short, and the longest documents are not pooled whole.
SETTINGS = ClassifierTrainingSettings.model_validate(
    {
        "stages": [{"groups": 1, "lr": 0.03}, {"only": 2, "lr": 0.02}, {"epochs": 2, "lr": 0.02}],
        "batch_size": 5,
        "device": "cpu",
        "log_points": 1000,
        "ar_alpha": 0.5,
        "tar_beta": 0.5,
        "lm_weight": 0.1,
        "keep_best": True,
    }
)


def _train(folder: Path) -> tuple[TextClassifier, ClassifierResult]:
    generator = np.random.default_rng(3)
    documents = [generator.integers(3, 20, length) for length in generator.integers(1, 30, 31)]
    labels = [int(document.mean() > 11) for document in documents]
    settings = ClassifierSettings(head_hidden=8, bptt=6, max_length=14)
    model = TextClassifier.from_language_model(LanguageModel(20, SIZES, 1, seed=1), 2, settings, seed=1)
    data = ClassifierData(documents, labels, documents[:9], labels[:9])
    return model, train_classifier_loop(model, data, SETTINGS, CheckpointFolder(folder), Silent())


def _rank_main(folder: Path, rank: int) -> None:
    timeout = timedelta(seconds=100)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=timeout)
    model, result = _train(folder / "two")
    save_file(dict(model.state_dict()), folder / f"weights-{rank}.safetensors")
    write_json(folder / f"facts-{rank}.json", {"metrics": result.metrics, "curves": result.curves})
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two ranks in processes of their own; what they wrote."""
    folder = tmp_path_factory.mktemp("ddp")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), str(rank)], env=environment, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    try:
        for rank in ranks:
            _, errors = rank.communicate(timeout=200)
            assert rank.returncode == 0, errors
    finally:
        for rank in ranks:
            rank.kill()
    return folder


def test_two_ranks_train_as_one(folder: Path, tmp_path: Path) -> None:
    model, one = _train(tmp_path)
    two = read_json(folder / "facts-0.json")
    assert len(one.curves["points"]) == len(two["curves"]["points"]) == one.metrics["steps"] > 20
    for ours, theirs in zip(one.curves["points"], two["curves"]["points"], strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
        assert theirs["gradient_norm"] == pytest.approx(ours["gradient_norm"], rel=1e-3)
        assert theirs["documents"] == ours["documents"] if "documents" in ours else theirs["tokens"] == ours["tokens"]
    for ours, theirs in zip(one.curves["epochs"], two["curves"]["epochs"], strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
    first, second = (load_file(folder / f"weights-{rank}.safetensors") for rank in range(2))
    for name, tensor in model.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], tensor, rtol=1e-3, atol=1e-5, msg=name)


if __name__ == "__main__":
    _rank_main(Path(sys.argv[1]), int(sys.argv[2]))
