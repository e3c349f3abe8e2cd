"""Training of a classifier: unfreezing, resume, and indifference to the order of the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ulmfit_dist.errors import DataError, InputError, StoppedError
from ulmfit_dist.events import Reporter, Silent
from ulmfit_dist.models.awd_lstm import LanguageModel
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.classifier import (
    ClassifierData,
    ClassifierResult,
    ClassifierTrainingSettings,
    predict_logits,
    train_classifier_loop,
)
from ulmfit_dist.training.stop import STOP

SIZES = AWDLSTMSettings(embedding_size=6, hidden_size=8, num_layers=2)
STAGES = [{"groups": 1, "epochs": 1, "lr": 0.03}, {"groups": 2, "epochs": 1, "lr": 0.02}, {"epochs": 2, "lr": 0.02}]


@pytest.fixture(autouse=True)
def _clear() -> Iterator[None]:
    yield
    STOP.clear()


class StopAfter(Silent):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def progress(self, done: float, total: float, **metrics: Any) -> None:
        self.left -= 1
        if self.left == 0:
            STOP.request()


def _documents(count: int, seed: int) -> tuple[list[np.ndarray], list[int]]:
    """Class 0 uses the words 3-9 more, class 1 the words 10-16; ordered by class."""
    generator = np.random.default_rng(seed)
    documents, labels = [], []
    for index in range(count):
        label = int(index >= count // 2)
        length = int(generator.integers(4, 15))
        own = generator.integers(3, 10, length) + 7 * (label if generator.random() < 0.9 else 1 - label)
        documents.append(np.array([2, *own], np.int64))
        labels.append(label)
    return documents, labels


def _data(order: np.ndarray | None = None) -> ClassifierData:
    train, labels = _documents(90, 1)
    order = np.arange(90) if order is None else order
    return ClassifierData([train[i] for i in order], [labels[i] for i in order], *_documents(40, 2))


def _model() -> TextClassifier:
    settings = ClassifierSettings(head_hidden=8, bptt=6).scaled(0.3)
    return TextClassifier.from_language_model(LanguageModel(20, SIZES, 1, seed=1), 2, settings, seed=1)


def _settings(**changes: Any) -> ClassifierTrainingSettings:
    base = {"stages": STAGES, "batch_size": 8, "seed": 3, "device": "cpu"}
    return ClassifierTrainingSettings.model_validate({**base, **changes})


def _train(
    folder: Path,
    settings: ClassifierTrainingSettings,
    data: ClassifierData | None = None,
    reporter: Reporter | None = None,
) -> tuple[TextClassifier, ClassifierResult]:
    model = _model()
    result = train_classifier_loop(model, data or _data(), settings, CheckpointFolder(folder), reporter or Silent())
    return model, result


def _same(one: TextClassifier, two: TextClassifier) -> bool:
    return all(torch.equal(tensor, two.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_it_learns_as_well_from_a_file_ordered_by_class(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(5).permutation(90)
    stages = [{"groups": 1, "epochs": 4, "lr": 0.03}, {"epochs": 8, "lr": 0.03}]
    scores = [
        _train(tmp_path / name, _settings(stages=stages), _data(order))[1].metrics["accuracy"]
        for name, order in (("ordered", None), ("shuffled", shuffled))
    ]
    # The best possible is about 0.9: one document in ten uses the other class's words.
    assert min(scores) >= 0.75


def test_each_stage_trains_its_groups_only(tmp_path: Path) -> None:
    initial = _model().state_dict()
    for groups, names in ((1, ["head."]), (2, ["head.", "encoder.rnns.1."]), (4, ["head.", "encoder."])):
        model, _ = _train(tmp_path / str(groups), _settings(stages=[{"groups": groups, "epochs": 1, "lr": 0.1}]))
        for name, parameter in model.named_parameters():
            moved = not torch.equal(parameter, initial[name])
            assert moved == name.startswith(tuple(names)), name
        assert all(parameter.requires_grad for parameter in model.parameters())
        assert not model.training


@pytest.mark.parametrize("keep_best", [False, True])
def test_stopped_at_any_step_and_continued_it_ends_bit_equal(tmp_path: Path, keep_best: bool) -> None:
    settings = _settings(keep_best=keep_best)
    whole, expected = _train(tmp_path / "whole", settings)
    steps = expected.metrics["steps"]
    per_epoch = steps // 4
    for stop in (1, per_epoch - 1, per_epoch, per_epoch + 1, 2 * per_epoch + 3, steps - 2):
        folder = tmp_path / f"stop{stop}"
        with pytest.raises(StoppedError):
            _train(folder, settings, reporter=StopAfter(stop))
        STOP.clear()
        resumed, result = _train(folder, settings)
        assert _same(whole, resumed), stop
        assert result.metrics == expected.metrics
        assert result.curves["epochs"] == expected.curves["epochs"]


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    _train(tmp_path, _settings())
    data = _data()
    relabelled = ClassifierData(data.train, [1, *data.train_labels[1:]], data.valid, data.valid_labels)
    with pytest.raises(InputError, match="another training"):
        _train(tmp_path, _settings(), relabelled)


def test_each_stage_has_its_own_schedule(tmp_path: Path) -> None:
    _, result = _train(tmp_path, _settings(schedule={"kind": "constant"}, log_points=1000))
    rates = [point["lr"] for point in result.curves["points"]]
    quarter = len(rates) // 4
    assert rates == [0.03] * quarter + [0.02] * (3 * quarter)
    assert {"documents", "documents_per_s"} <= set(result.curves["points"][0])


def test_keep_best_ends_with_the_best_epoch(tmp_path: Path) -> None:
    stages = [{"epochs": 2, "lr": 0.02}, {"epochs": 2, "lr": 5.0}]
    model, result = _train(tmp_path, _settings(stages=stages, keep_best=True, clip=0))
    rows = result.curves["epochs"]
    best = min(rows, key=lambda row: row["loss"])
    assert best is not rows[-1]
    data = _data()
    logits = predict_logits(model, data.valid)
    loss = torch.nn.functional.cross_entropy(logits.double(), torch.tensor(list(data.valid_labels)))
    assert float(loss) == pytest.approx(best["loss"], rel=1e-9)
    assert result.metrics["loss"] == best["loss"]


def test_predictions_come_in_the_order_of_the_documents() -> None:
    model, (documents, _) = _model().eval(), _documents(30, 7)
    logits = predict_logits(model, documents)
    alone = torch.cat([predict_logits(model, [document]) for document in documents])
    torch.testing.assert_close(logits, alone)


def test_no_loss_of_a_number_stops_with_the_place(tmp_path: Path) -> None:
    model = _model()
    with torch.no_grad():
        model.encoder.embedding[2] = float("nan")
    with pytest.raises(DataError, match="step 0, epoch 0"):
        train_classifier_loop(model, _data(), _settings(), CheckpointFolder(tmp_path), Silent())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    data = _data()
    wrong = ClassifierData(data.train, [2, *data.train_labels[1:]], data.valid, data.valid_labels)
    with pytest.raises(InputError, match="no class of the model"):
        _train(tmp_path, _settings(), wrong)
    with pytest.raises(InputError, match="do not match"):
        _train(tmp_path, _settings(), ClassifierData(data.train, [0], data.valid, data.valid_labels))
    with pytest.raises(InputError, match="no validation documents"):
        _train(tmp_path, _settings(), ClassifierData(data.train, data.train_labels, [], []))
    with pytest.raises(InputError, match="too few"):
        _train(tmp_path, _settings(), ClassifierData(data.train[:1], [0], data.valid, data.valid_labels))
