"""Training of a language model: it learns, it stops and goes on bit for bit, it says where it fails."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ulmfit_dist.corpus.lanes import epoch_order, window_lengths
from ulmfit_dist.errors import DataError, InputError, StoppedError
from ulmfit_dist.events import Reporter, Silent
from ulmfit_dist.files import read_json
from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.models.encoder import detach_state
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.evaluate import EvaluationLanes, evaluate_language_model
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMResult, LMTrainer, LMTrainingSettings, Surroundings, train_lm
from ulmfit_dist.training.plan import Position
from ulmfit_dist.training.schedule import slanted_triangular
from ulmfit_dist.training.stop import STOP
from ulmfit_dist.training.windows import DeviceWindow

SIZES = AWDLSTMSettings(embedding_size=8, hidden_size=12, num_layers=2, weight_dropout=0.3)
# The CPU is where equality is promised to the bit; test_cuda.py has the GPU.
BASE = {"epochs": 2, "num_lanes": 4, "bptt": 10, "lr": 0.01, "valid_lanes": 3, "seed": 2, "device": "cpu"}


class StopAfter(Silent):
    """Asks for a stop as a signal would: when a given number of steps has been reported."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields))

    def progress(self, done: float, total: float, **metrics: Any) -> None:
        self.left -= 1
        if self.left == 0:
            STOP.request()


@pytest.fixture(autouse=True)
def _clear() -> Iterator[None]:
    yield
    STOP.clear()


@pytest.fixture
def data(make_stream, counting) -> LMData:
    return LMData(make_stream("train", counting(40, 1)), make_stream("valid", counting(8, 2)), "forward")


def _model(**sizes: Any) -> LanguageModel:
    return LanguageModel(20, AWDLSTMSettings.model_validate({**SIZES.model_dump(), **sizes}), 1, seed=4)


def _settings(**changes: Any) -> LMTrainingSettings:
    return LMTrainingSettings.model_validate({**BASE, **changes})


def _train(
    data: LMData, folder: Path, settings: LMTrainingSettings, reporter: Reporter | None = None
) -> tuple[LanguageModel, LMResult]:
    model = _model()
    result = train_lm(model, data, settings, Group.single(), CheckpointFolder(folder), reporter or Silent())
    return model, result


def _same(one: LanguageModel, two: LanguageModel) -> bool:
    return all(torch.equal(tensor, two.state_dict()[name]) for name, tensor in one.state_dict().items())


def _stable(result: LMResult) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    points = [{k: v for k, v in point.items() if k != "tokens_per_s"} for point in result.curves["points"]]
    return result.metrics, points, result.curves["epochs"]


@pytest.mark.parametrize(("lanes", "lr"), [(16, 4e-3), (64, 4e-3), (96, 6e-3), (128, 8e-3), (4096, 8e-3)])
def test_without_a_rate_the_lanes_give_it(lanes: int, lr: float) -> None:
    assert LMTrainingSettings(num_lanes=lanes).highest_lr == pytest.approx(lr)
    assert LMTrainingSettings(num_lanes=lanes, lr=0.01).highest_lr == 0.01


def test_it_learns_to_count(data: LMData, tmp_path: Path) -> None:
    settings = _settings(epochs=25, ar_alpha=0, tar_beta=0, lr=0.03, optimizer={"beta1": 0.9})
    _, result = _train(data, tmp_path / "c", settings)
    first, last = result.curves["epochs"][0], result.curves["epochs"][-1]
    # Chance is 1/17; in the text three of four tokens follow from the one before.
    assert last["loss"] < first["loss"] - 0.5
    assert last["accuracy"] > 0.5
    assert result.metrics["loss"] == last["loss"]
    assert result.metrics["bits_per_character"] > 0


def test_equal_runs_give_equal_bits(data: LMData, tmp_path: Path) -> None:
    one, first = _train(data, tmp_path / "one", _settings())
    torch.manual_seed(99)
    two, second = _train(data, tmp_path / "two", _settings(log_points=200, checkpoint_steps=3))
    assert _same(one, two)
    assert _stable(first) == _stable(second)
    three, _ = _train(data, tmp_path / "three", _settings(seed=3))
    assert not _same(one, three)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"frozen_epochs": 1, "keep_best": True},
        {"bptt_jitter": False},
        {"ema": 0.9},
        {"ema": 0.9, "keep_best": True},
    ],
)
def test_stopped_at_any_step_and_continued_it_ends_bit_equal(
    data: LMData, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = _settings(**changes, schedule={"kind": "one_cycle", "momentum": [0.8, 0.7]})
    whole, expected = _train(data, tmp_path / "whole", settings)
    steps = expected.metrics["steps"]
    per_epoch = [row["step"] for row in expected.curves["epochs"]]
    # The epoch's last step, the ones around it, and two more.
    for stop in {1, per_epoch[0] - 1, per_epoch[0], per_epoch[0] + 1, steps - 2}:
        folder = tmp_path / f"stop{stop}"
        with pytest.raises(StoppedError):
            _train(data, folder, settings, StopAfter(stop))
        STOP.clear()
        reporter = StopAfter(0)
        resumed, result = _train(data, folder, settings, reporter)
        assert reporter.events[0] == ("resumed", {"step": stop + 1, "total_steps": steps})
        assert _same(whole, resumed), stop
        assert _stable(result) == _stable(expected)


def test_a_finished_training_called_again_is_left_as_it_is(data: LMData, tmp_path: Path) -> None:
    one, first = _train(data, tmp_path / "c", _settings())
    reporter = StopAfter(1)
    two, second = _train(data, tmp_path / "c", _settings(), reporter)
    assert _same(one, two)
    assert _stable(first) == _stable(second)
    assert reporter.left == 1


def test_the_checkpoint_of_another_training_is_refused(data: LMData, tmp_path: Path) -> None:
    _train(data, tmp_path / "c", _settings())
    with pytest.raises(InputError, match="another training"):
        _train(data, tmp_path / "c", _settings(lr=0.02))
    with pytest.raises(InputError, match="another training"):
        _train(LMData(data.train, data.valid, "backward"), tmp_path / "c", _settings())
    # How often it is saved does not make it another training.
    _train(data, tmp_path / "c", _settings(checkpoint_steps=1))


def test_backward_reads_the_mirror(data: LMData, tmp_path: Path) -> None:
    forward, _ = _train(data, tmp_path / "f", _settings())
    backward, _ = _train(LMData(data.train, data.valid, "backward"), tmp_path / "b", _settings())
    assert not _same(forward, backward)


def test_frozen_epochs_train_the_decoder_alone(data: LMData, tmp_path: Path) -> None:
    model, before = _model(), _model()
    train_lm(
        model,
        data,
        _settings(epochs=0, frozen_epochs=1),
        Group.single(),
        CheckpointFolder(tmp_path / "c"),
        Silent(),
    )
    changed = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before.state_dict()[name])
    }
    assert changed == {"encoder.embedding", "decoder_bias"}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_rates_follow_schedule_and_phases(data: LMData, tmp_path: Path) -> None:
    settings = _settings(frozen_epochs=1, frozen_lr=0.5, epochs=1, lr=0.01, schedule={"kind": "constant"})
    _, result = _train(data, tmp_path / "c", settings)
    assert {(point["epoch"], point["lr"]) for point in result.curves["points"]} == {(0, 0.5), (1, 0.01)}


def test_a_short_window_learns_at_a_rate_in_proportion(data: LMData, tmp_path: Path) -> None:
    settings = _settings(epochs=1, lr=0.01, schedule={"kind": "constant"}, clip=0)
    trainer = LMTrainer(_model(), data, settings, Surroundings(Group(), CheckpointFolder(tmp_path / "c"), Silent()))
    seen = {}
    for position, window in trainer.windows(0, 0):
        trainer.train_step(position, window)
        seen[position.length] = trainer.optimizer.param_groups[0]["lr"]
    assert len(seen) > 2
    for length, rate in seen.items():
        assert rate == pytest.approx(0.01 * length / 10)


def test_no_loss_of_a_number_stops_with_the_place(data: LMData, tmp_path: Path) -> None:
    model = _model()
    with torch.no_grad():
        model.encoder.embedding[7] = float("nan")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folder = tmp_path / "c"
    with pytest.raises(DataError, match="step 0, epoch 0"):
        train_lm(model, data, _settings(), Group.single(), CheckpointFolder(folder), Silent())
    written = read_json(folder / "non-finite-rank0.json")
    assert len(written["documents"]) >= 4
    assert set(written["documents"]) <= {f"{i:032x}" for i in range(40)}
    assert all(
        torch.equal(tensor.nan_to_num(), before[name].nan_to_num()) for name, tensor in model.state_dict().items()
    )


def test_early_stopping_and_the_best_epoch(data: LMData, tmp_path: Path) -> None:
    # A rate that ruins the model: the first epoch's loss stays the best.
    settings = _settings(epochs=6, lr=3.0, clip=0, patience=2, keep_best=True, schedule={"kind": "constant"})
    model, result = _train(data, tmp_path / "c", settings)
    rows = result.curves["epochs"]
    best = min(rows, key=lambda row: row["loss"])
    assert len(rows) == rows.index(best) + 1 + 2
    assert len(rows) < 6
    assert result.metrics["epoch"] == best["epoch"]
    score = evaluate_language_model(model, data.valid, EvaluationLanes("forward", 3, 10))
    assert score.as_metrics()["loss"] == pytest.approx(best["loss"], rel=1e-9)


class _Watched(LMTrainer):
    """Keeps the weights after every step."""

    history: list[dict[str, torch.Tensor]]

    def train_step(self, position: Position, window: DeviceWindow) -> None:
        super().train_step(position, window)
        self.history.append({name: tensor.double() for name, tensor in self.model.state_dict().items()})


@pytest.mark.parametrize("keep_best", [False, True])
def test_averages_are_what_is_validated_waited_for_and_kept(data: LMData, tmp_path: Path, keep_best: bool) -> None:
    # Learns, then is ruined by a rate that rises a hundredfold: the epochs' losses have a lowest one inside.
    decay, schedule = 0.8, {"kind": "one_cycle", "div": 100, "rise_frac": 0.9}
    settings = _settings(epochs=12, lr=1.0, clip=0, patience=2, keep_best=keep_best, ema=decay, schedule=schedule)
    trainer = _Watched(_model(), data, settings, Surroundings(Group(), CheckpointFolder(tmp_path / "c"), Silent()))
    trainer.history = []
    result = trainer.train()
    rows = result.curves["epochs"]
    averaged = []
    for row in rows:
        steps = trainer.history[: row["step"]]
        shares = [decay ** (row["step"] - 1 - i) for i in range(row["step"])]
        mean = {
            name: sum(share * one[name] for share, one in zip(shares, steps, strict=True)) / sum(shares)
            for name in steps[0]
        }
        averaged.append(_model())
        averaged[-1].load_state_dict(mean)
        score = evaluate_language_model(averaged[-1], data.valid, EvaluationLanes("forward", 3, 10))
        assert score.as_metrics()["loss"] == pytest.approx(row["loss"], rel=1e-4)
    best = min(range(len(rows)), key=lambda index: rows[index]["loss"])
    assert best > 0
    assert len(rows) == best + 1 + 2 < 12
    kept = averaged[best if keep_best else -1].state_dict()
    assert result.metrics["epoch"] == rows[best if keep_best else -1]["epoch"]
    for name, tensor in trainer.model.state_dict().items():
        torch.testing.assert_close(tensor, kept[name], rtol=1e-3, atol=1e-4, msg=name)
        assert not torch.allclose(tensor.double(), trainer.history[-1][name], rtol=1e-3, atol=1e-4), name


def test_a_loss_spike_is_told_with_its_documents_and_stops_nothing(make_stream, counting, tmp_path: Path) -> None:
    # A long text that is easy to foresee, and in its middle one document that is not.
    generator = np.random.default_rng(5)
    documents = [[2, *([3, 4, 5, 6] * 10)] for _ in range(60)]
    documents[40] = [2, *generator.integers(7, 20, 40).tolist()]
    data = LMData(make_stream("even", documents), make_stream("valid", counting(8, 2)), "forward")
    settings = _settings(
        epochs=1, num_lanes=1, shuffle=False, bptt_jitter=False, bptt=20, lr=0.03, schedule={"kind": "constant"}
    )
    reporter = StopAfter(0)
    model, result = _train(data, tmp_path / "whole", settings, reporter)
    (told,) = [fields for kind, fields in reporter.events if kind == "loss_spike"]
    start = 20 * (told["step"] - 1)
    read = range(start // 41, (start + 20) // 41 + 1)
    assert 40 in read
    assert told.pop("documents") == [f"{index:032x}" for index in read]
    assert result.curves["spikes"] == [told]
    assert told["loss"] > told["usual"] + 1
    point = next(point for point in result.curves["points"] if point["step"] == told["step"])
    assert (told["loss"], told["gradient_norm"]) == (point["loss"], point["gradient_norm"])
    with pytest.raises(StoppedError):
        _train(data, tmp_path / "stopped", settings, StopAfter(told["step"] - 3))
    STOP.clear()
    resumed, again = _train(data, tmp_path / "stopped", settings)
    assert again.curves["spikes"] == result.curves["spikes"]
    assert _same(model, resumed)


def test_averages_change_nothing_of_the_training_itself(data: LMData, tmp_path: Path) -> None:
    points = [_stable(_train(data, tmp_path / f"{ema}", _settings(ema=ema))[1])[1] for ema in (0.0, 0.9)]
    assert points[0] == points[1]


def test_what_does_not_fit_is_refused_before_work(data: LMData, tmp_path: Path, make_stream) -> None:
    folder = tmp_path / "c"
    model = LanguageModel(21, SIZES, 1)
    with pytest.raises(InputError, match="does not belong to this encoder"):
        train_lm(model, data, _settings(), Group(), CheckpointFolder(folder), Silent())
    with pytest.raises(InputError, match="shorter than one step"):
        _train(data, folder, _settings(num_lanes=10_000))
    with pytest.raises(InputError, match="more ranks than lanes"):
        train_lm(_model(), data, _settings(), Group(0, 5), CheckpointFolder(folder), Silent())
    with pytest.raises(InputError, match="validation stream is empty"):
        _train(LMData(data.train, make_stream("empty", []), "forward"), folder, _settings())
    with pytest.raises(InputError, match="rnn0, rnn1, decoder"):
        _train(data, folder, _settings(layer_factors=[1.0]))
    assert not folder.exists()


def test_without_an_epoch_the_model_is_measured_and_stays_what_it_is(data: LMData, tmp_path: Path) -> None:
    model = _model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = train_lm(model, data, _settings(epochs=0), Group(), CheckpointFolder(tmp_path), Silent())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    expected = evaluate_language_model(model, data.valid, EvaluationLanes("forward", 3, 10)).as_metrics()
    assert result.metrics == {**expected, "step": 0, "epoch": 0, "steps": 0, "tokens": 0}
    assert result.curves["points"] == []


def test_reports_are_in_tokens_and_reach_the_total(data: LMData, tmp_path: Path) -> None:
    seen: list[tuple[float, float, dict[str, Any]]] = []

    class Progress(Silent):
        def progress(self, done: float, total: float, **metrics: Any) -> None:
            seen.append((done, total, metrics))

    _train(data, tmp_path / "c", _settings(), Progress())
    targets = data.train.num_tokens - 1
    assert seen[-1][:2] == (2 * targets, 2 * targets)
    assert {"loss", "tokens_per_s", "lr", "epoch"} <= set(seen[0][2])


def _windows(lane_length: int, epoch: int) -> list[int]:
    """The jittered lengths, each window's end moved to the nearest multiple of 5."""
    lengths, end = [], 0
    for edge in window_lengths(lane_length, 10, True, 2, epoch).cumsum()[:-1].tolist():
        if end < 5 * ((edge + 2) // 5) < lane_length:
            lengths.append(5 * ((edge + 2) // 5) - end)
            end += lengths[-1]
    return [*lengths, lane_length - end]


def _plain_training(data: LMData, settings: LMTrainingSettings) -> LanguageModel:
    """The whole training said plainly: text as lists, torch's own loss, an optimizer without groups, one lane at a time
    cut by hand."""
    model, lanes = _model(), settings.num_lanes
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.7, 0.99), eps=1e-8, weight_decay=0.01)
    windows = [_windows(-(-(data.train.num_tokens - 1) // lanes), epoch) for epoch in range(2)]
    total, step = sum(map(len, windows)), 0
    for epoch in range(2):
        order = epoch_order(data.train.num_documents, 2, epoch)
        text = [int(token) for i in order for token in data.train.document(int(i))]
        edges = [lane * (len(text) - 1) // lanes for lane in range(lanes + 1)]
        state = model.encoder.initial_state(lanes)
        done = 0
        for length in windows[epoch]:
            rows = [text[edge + done : min(edge + done + length, end) + 1] for edge, end in pairwise(edges)]
            inputs = torch.ones(length, lanes, dtype=torch.long)
            places, targets = [], []
            for lane, row in enumerate(rows):
                inputs[: len(row) - 1, lane] = torch.tensor(row[:-1])
                places += [(time, lane) for time in range(len(row) - 1)]
                targets += row[1:]
            out = model(inputs, state, DropoutMasks(2, step, range(lanes), lanes))
            state = detach_state(out.state)
            times, columns = (torch.tensor(side) for side in zip(*places, strict=True))
            loss = F.cross_entropy(out.logits_TBV[times, columns], torch.tensor(targets))
            loss = loss + 2.0 * out.dropped_TBE[times, columns].pow(2).mean()
            later = times > 0
            change = out.raw_TBE[times[later], columns[later]] - out.raw_TBE[times[later] - 1, columns[later]]
            loss = loss + (change.pow(2).mean() if later.any() else 0.0)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
            optimizer.param_groups[0]["lr"] = slanted_triangular(0.01, step, total) * length / 10
            optimizer.step()
            done, step = done + length, step + 1
    return model


def test_two_epochs_equal_the_training_said_plainly(data: LMData, tmp_path: Path) -> None:
    plain = _plain_training(data, _settings())
    ours, _ = _train(data, tmp_path / "c", _settings())
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, plain.state_dict()[name], rtol=1e-3, atol=1e-5, msg=name)
