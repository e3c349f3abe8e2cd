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
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.document_lanes import fill_lanes
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings, QRNNSettings
from ulmfit_dist.training.batches import pad_documents
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.classifier import (
    ClassifierData,
    ClassifierResult,
    ClassifierTrainingSettings,
    predict_logits,
    train_classifier_loop,
)
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.penalties import AddedLoss, Additions
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


def test_batch_norm_trains_on_what_it_predicts_with(tmp_path: Path) -> None:
    # Of documents of 1 to 60 tokens what is pooled varies with the length. In batches of one length (sort-ish ones) the
    # variance inside a batch, which batch norm keeps, is .01 to .5 of that over all documents, which prediction meets.
    generator = np.random.default_rng(6)
    documents = [np.array([2, *generator.integers(3, 20, length % 60)], np.int64) for length in range(600)]
    data = ClassifierData(documents, [i % 2 for i in range(600)], documents[:2], [0, 1])
    model = TextClassifier.from_language_model(
        LanguageModel(20, SIZES, 1, seed=1), 2, ClassifierSettings(head_hidden=8).scaled(0.0), seed=1
    )
    stages = [{"groups": 1, "epochs": 8, "lr": 1e-9}]
    settings = _settings(stages=stages, batch_size=20)
    train_classifier_loop(model, data, settings, CheckpointFolder(tmp_path), Silent())
    with torch.no_grad():
        pooled = torch.cat([model.encode(*pad_documents([document], 1)) for document in documents])
    found, wanted = model.head.norms[0].running_var, pooled.var(0)
    moving = wanted > 1e-3 * wanted.max()  # a highest output may be that of the first token, which all share
    torch.testing.assert_close(found[moving], wanted[moving], rtol=0.25, atol=0)


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


@pytest.mark.parametrize(
    "changes",
    [
        {"label_smoothing": 0.1, "class_weights": "balanced"},
        {"sampling": "balanced"},
        {"ar_alpha": 1.0, "tar_beta": 0.5, "lm_weight": 0.2},
    ],
)
def test_everything_that_changes_the_loss_learns_and_resumes_bit_equal(tmp_path: Path, changes: dict[str, Any]) -> None:
    stages = [{"groups": 1, "epochs": 4, "lr": 0.03}, {"epochs": 8, "lr": 0.03}]
    settings = _settings(stages=stages, **changes)
    whole, result = _train(tmp_path / "whole", settings)
    assert result.metrics["accuracy"] >= 0.75
    plain, _ = _train(tmp_path / "plain", _settings(stages=stages))
    assert not _same(whole, plain)
    with pytest.raises(StoppedError):
        _train(tmp_path / "stopped", settings, reporter=StopAfter(40))
    STOP.clear()
    assert _same(whole, _train(tmp_path / "stopped", settings)[0])


def test_the_language_models_loss_keeps_the_model_a_better_reader(tmp_path: Path) -> None:
    stages = [{"epochs": 12, "lr": 0.03}]
    losses = []
    for weight in (0.0, 1.0):
        settings = _settings(stages=stages, lm_weight=weight, layer_ratio=1)
        model, _ = _train(tmp_path / str(weight), settings)
        added = AddedLoss(Additions(lm_weight=1.0), model.encoder.embedding, None)
        tokens, valid = pad_documents(_data().valid, 1)
        with torch.no_grad():
            model.encode(tokens, valid, watch=added.watch)
        losses.append(float(added.total(Group.single(), counted=True)))
    # Nothing known of 20 tokens costs ln 20 = 3.0 nats, the two classes' words 2.6.
    assert losses[1] < losses[0] - 0.1


@pytest.mark.parametrize(
    ("kind", "measure"), [("multilabel", "accuracy"), ("ordinal", "accuracy"), ("regression", "r2")]
)
def test_other_targets_are_learned_and_resumed(tmp_path: Path, kind: Any, measure: str) -> None:
    def targets(documents: list[np.ndarray]) -> Any:
        shares = np.array([(document >= 10).mean() for document in documents], np.float32)
        if kind == "multilabel":
            return np.stack([shares > 0.5, shares <= 0.5, shares > 2], 1).astype(np.float32)
        return (shares - 0.5) * 2 if kind == "regression" else np.digitize(shares, [0.3, 0.7]).astype(np.int64)

    data = _data()
    data = ClassifierData(data.train, targets(list(data.train)), data.valid, targets(list(data.valid)), kind)

    def train(folder: Path, reporter: Reporter) -> tuple[TextClassifier, ClassifierResult]:
        outputs = {"multilabel": 3, "ordinal": 2, "regression": 1}[kind]
        settings = ClassifierSettings(head_hidden=8, bptt=6).scaled(0.1)
        model = TextClassifier.from_language_model(LanguageModel(20, SIZES, 1, seed=1), outputs, settings, seed=1)
        chosen = _settings(stages=[{"epochs": 12, "lr": 0.03}])
        return model, train_classifier_loop(model, data, chosen, CheckpointFolder(folder), reporter)

    model, result = train(tmp_path / "whole", Silent())
    assert result.metrics["r2" if kind == "regression" else "accuracy"] >= 0.75
    with pytest.raises(StoppedError):
        train(tmp_path / "stopped", StopAfter(20))
    STOP.clear()
    assert _same(model, train(tmp_path / "stopped", Silent())[0])


def test_one_layer_alone_is_trained(tmp_path: Path) -> None:
    initial = _model().state_dict()
    for only, prefix in ((1, "head."), (2, "encoder.rnns.1."), (3, "encoder.rnns.0."), (4, "encoder.embedding")):
        model, _ = _train(tmp_path / str(only), _settings(stages=[{"only": only, "epochs": 1, "lr": 0.1}]))
        moved = {name for name, p in model.named_parameters() if not torch.equal(p, initial[name])}
        assert moved == {name for name in initial if name.startswith(prefix)} & {n for n, _ in model.named_parameters()}
    with pytest.raises(ValueError, match="groups or only"):
        _settings(stages=[{"only": 1, "groups": 1}])


def test_a_document_alone_or_in_any_batch_has_the_same_score() -> None:
    settings = ClassifierSettings(head_hidden=8, bptt=6, max_length=40)
    model = TextClassifier.from_language_model(LanguageModel(20, SIZES, 1, seed=1), 2, settings, seed=1).eval()
    generator = np.random.default_rng(3)
    lengths = [1, 2, 5, 6, 7, 39, 40, 41, 300]
    documents = [generator.integers(3, 17, length) for length in lengths]
    alone = torch.cat([predict_logits(model, [document]) for document in documents])
    for order in (range(9), range(8, -1, -1), [4, 8, 0, 7, 3, 1, 6, 2, 5]):
        together = predict_logits(model, [documents[i] for i in order])
        assert float((together - alone[list(order)]).abs().max()) <= 1e-5


def test_many_documents_have_the_scores_that_few_have() -> None:
    model, (documents, _) = _model().eval(), _documents(400, 8)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert fill_lanes(documents)
        assert not fill_lanes(documents[:20])
        together, alone = predict_logits(model, documents), predict_logits(model, documents[:20])
    finally:
        torch.set_num_threads(before)
    assert float((together[:20] - alone).abs().max()) <= 1e-5
    assert float(together.std()) > 0.01


def test_int8_is_refused_for_other_layers() -> None:
    sizes = QRNNSettings(embedding_size=8, hidden_size=12, num_layers=2)
    model = TextClassifier.from_language_model(LanguageModel(20, sizes, 1), 2, ClassifierSettings())
    with pytest.raises(InputError, match="int8 is for LSTM"):
        predict_logits(model, [np.array([2, 5])], precision="int8")


def test_balanced_sampling_of_several_labels_is_refused(tmp_path: Path) -> None:
    data = _data()
    targets = np.zeros((90, 2), np.float32), np.zeros((40, 2), np.float32)
    several = ClassifierData(data.train, targets[0], data.valid, targets[1], "multilabel")
    with pytest.raises(InputError, match="one class a document"):
        _train(tmp_path, _settings(sampling="balanced"), several)
    narrow = ClassifierData(data.train, targets[0][:, :1], data.valid, targets[1], "multilabel")
    with pytest.raises(InputError, match="do not fit the model"):
        _train(tmp_path, _settings(), narrow)
