"""The same training on a GPU: bf16 compute, float32 masters, the loss of the CPU within bf16's error, and resume.

Skipped where there is no GPU; BENCHMARKS.md says when and where it last ran.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from ulmfit_dist.errors import DataError, StoppedError
from ulmfit_dist.events import Silent
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.classifier import (
    ClassifierData,
    ClassifierStage,
    ClassifierTrainingSettings,
    train_classifier_loop,
)
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMResult, LMTrainingSettings, train_lm
from ulmfit_dist.training.stop import STOP

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

SIZES = AWDLSTMSettings(embedding_size=64, hidden_size=96, num_layers=3)
NO_DROPOUT = SIZES.scaled(0.0)


@pytest.fixture(autouse=True)
def _clear() -> Iterator[None]:
    yield
    STOP.clear()


@pytest.fixture
def data(make_stream, counting) -> LMData:
    return LMData(make_stream("train", counting(200, 1)), make_stream("valid", counting(30, 2)), "forward")


def _train(
    data: LMData,
    folder: Path,
    device: str,
    sizes: AWDLSTMSettings = SIZES,
    *,
    reporter: Silent | None = None,
    ema: float = 0,
) -> tuple[LanguageModel, LMResult]:
    settings = LMTrainingSettings(epochs=3, num_lanes=8, bptt=10, lr=0.01, valid_lanes=4, device=device, ema=ema)
    model = LanguageModel(20, sizes, 1, seed=4)
    return model, train_lm(model, data, settings, Group.single(), CheckpointFolder(folder), reporter or Silent())


def test_the_loss_is_that_of_the_cpu_within_bf16(data: LMData, tmp_path: Path) -> None:
    _, cpu = _train(data, tmp_path / "cpu", "cpu", NO_DROPOUT)
    _, gpu = _train(data, tmp_path / "gpu", "cuda", NO_DROPOUT)
    pairs = [(c["loss"], g["loss"]) for c, g in zip(cpu.curves["points"], gpu.curves["points"], strict=True)]
    assert pairs[0][1] == pytest.approx(pairs[0][0], rel=5e-3)
    assert gpu.metrics["perplexity"] == pytest.approx(cpu.metrics["perplexity"], rel=0.15)


def test_averages_of_the_weights_are_validated_and_kept_while_recorded_windows_go_on(
    data: LMData, tmp_path: Path
) -> None:
    _, cpu = _train(data, tmp_path / "cpu", "cpu", NO_DROPOUT, ema=0.9)
    model, gpu = _train(data, tmp_path / "gpu", "cuda", NO_DROPOUT, ema=0.9)
    for ours, theirs in zip(gpu.curves["epochs"], cpu.curves["epochs"], strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.15)
    assert gpu.curves["points"][-1]["loss"] == pytest.approx(cpu.curves["points"][-1]["loss"], rel=0.15)
    assert model.decoder_weight.is_cuda


def test_it_learns_with_every_dropout_on_and_keeps_float32_masters(data: LMData, tmp_path: Path) -> None:
    model, result = _train(data, tmp_path / "gpu", "cuda")
    first, last = (result.curves["points"][i]["loss"] for i in (0, -1))
    assert last < 0.6 * first
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_trainings_one_after_the_other_take_the_memory_of_one(data: LMData, tmp_path: Path) -> None:
    held = []
    for number in range(3):
        model, _ = _train(data, tmp_path / str(number), "cuda")
        del model
        torch.cuda.empty_cache()
        held.append(torch.cuda.memory_reserved())
    assert held[2] <= held[0]


def test_stopped_and_continued_it_sees_the_same_steps(data: LMData, tmp_path: Path) -> None:
    class StopAfter(Silent):
        left = 25

        def progress(self, done: float, total: float, **metrics: object) -> None:
            self.left -= 1
            if self.left == 0:
                STOP.request()

    _, whole = _train(data, tmp_path / "whole", "cuda")
    with pytest.raises(StoppedError):
        _train(data, tmp_path / "cut", "cuda", reporter=StopAfter())
    STOP.clear()
    _, cut = _train(data, tmp_path / "cut", "cuda")
    assert [p["tokens"] for p in cut.curves["points"]] == [p["tokens"] for p in whole.curves["points"]]
    assert cut.metrics["loss"] == pytest.approx(whole.metrics["loss"], rel=0.05)


def test_no_loss_of_a_number_stops_with_the_place_and_the_weights_before_it(data: LMData, tmp_path: Path) -> None:
    model = LanguageModel(20, SIZES, 1, seed=4)
    with torch.no_grad():
        model.encoder.embedding[7] = float("nan")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = LMTrainingSettings(num_lanes=8, bptt=10, device="cuda")
    with pytest.raises(DataError, match="step 0, epoch 0"):
        train_lm(model, data, settings, Group.single(), CheckpointFolder(tmp_path), Silent())
    # Some steps more were under way when it was found: none of them changed anything.
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.cpu().nan_to_num(), before[name].nan_to_num()), name


def test_a_classifier_learns(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    labels = [int(label) for label in generator.integers(2, size=120)]
    documents = [np.array([2, *generator.integers(3, 20, size=9), 5 if y else 7], np.int64) for y in labels]
    model = TextClassifier(
        LanguageModel(20, NO_DROPOUT, 1, seed=4).encoder, 2, ClassifierSettings().scaled(0.2), seed=1
    )
    settings = ClassifierTrainingSettings(
        stages=[ClassifierStage(groups=1), ClassifierStage(groups=0, epochs=12, lr=0.01)],
        layer_ratio=1.0,
        batch_size=16,
        device="cuda",
    )
    data = ClassifierData(documents[:80], labels[:80], documents[80:], labels[80:])
    result = train_classifier_loop(model, data, settings, CheckpointFolder(tmp_path), Silent())
    assert result.metrics["accuracy"] > 0.85
