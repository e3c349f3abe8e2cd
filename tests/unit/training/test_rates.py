"""The learning-rate range test: its curve from an independent loop, its suggestions on curves worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ulmfit_dist.corpus.lanes import LaneReader, epoch_order
from ulmfit_dist.errors import StoppedError
from ulmfit_dist.events import Silent
from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.lm import LMData, LMTrainingSettings
from ulmfit_dist.training.losses import Denominators, Penalties, lm_loss
from ulmfit_dist.training.rates import Point, Sweep, SweepSettings, steepest, sweep_rates, valley
from ulmfit_dist.training.stop import STOP
from ulmfit_dist.training.windows import read_window

SIZES = AWDLSTMSettings(embedding_size=8, hidden_size=12, num_layers=2, weight_dropout=0.3)
SETTINGS = LMTrainingSettings(num_lanes=4, bptt=10, bptt_jitter=False, seed=2, device="cpu")


@pytest.fixture(autouse=True)
def _clear() -> Iterator[None]:
    yield
    STOP.clear()


@pytest.fixture
def data(make_stream, counting) -> LMData:
    stream = make_stream("train", counting(40, 1))
    return LMData(stream, stream, "forward")


def _model() -> LanguageModel:
    return LanguageModel(20, SIZES, 1, seed=4)


def _rates(count: int) -> list[float]:
    return [10.0**-index for index in range(count, 0, -1)]


def test_the_valley_is_the_longest_fall_and_its_rate_two_fourths_in() -> None:
    # 9 8 7 6 5 4 3 2 1 falls over all nine: L 9, e 8, so index 8 - 9 + 3 + 1 = 3.
    assert valley(_rates(9), [9, 8, 7, 6, 5, 4, 3, 2, 1]) == _rates(9)[3]
    # The longest fall is 7 6 5 4 3 2 (indices 1 3 4 6 7 8): L 6, e 8, index 8 - 6 + 2 + 1 = 5, itself no part of it.
    assert valley(_rates(11), [5, 7, 9, 6, 5, 8, 4, 3, 2, 6, 7]) == _rates(11)[5]
    # Two of length 3, [4 3 2] and later [9 8 7]: the first to end counts: e 2, index 2 - 3 + 1 + 0 = 0.
    assert valley(_rates(6), [4, 3, 2, 9, 8, 7]) == _rates(6)[0]
    assert valley(_rates(3), [1, 2, 2]) is None
    assert valley([], []) is None


def test_the_steepest_rate_is_per_unit_of_log_rate() -> None:
    # Falls by 1, 2 and 3; but the last over two tenfold rates, 1.5 for each.
    assert steepest([1e-6, 1e-5, 1e-4, 1e-2], [9, 8, 6, 3]) == 1e-5
    assert steepest([1e-6, 1e-5, 1e-4], [3, 3, 4]) is None
    assert steepest([1e-6], [3]) is None


def test_rates_rise_by_equal_factors_from_the_lowest_to_the_highest() -> None:
    sweep = SweepSettings(lowest=1e-4, highest=1.0, steps=21)
    rates = [sweep.rate(step) for step in range(21)]
    assert [rates[0], rates[5], rates[10], rates[20]] == pytest.approx([1e-4, 1e-3, 1e-2, 1.0])
    with pytest.raises(ValueError, match="not below highest"):
        SweepSettings(lowest=1.0, highest=1.0)


def test_smoothing_is_a_weighted_mean_and_fourfold_ends_it() -> None:
    sweep, losses = Sweep(100), [5.0, 3.0, 2.0, 4.0]
    assert not any(sweep.add(10.0**step, loss) for step, loss in enumerate(losses))
    weights = [0.98 ** (3 - index) for index in range(4)]
    expected = sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / sum(weights)
    assert sweep.points[-1].smoothed == pytest.approx(expected)
    lowest = min(point.smoothed for point in sweep.points)
    # The next smoothed loss is a x + b of its own loss x: just below and just above four times the lowest.
    shares = [0.98 ** (4 - index) for index in range(5)]
    edge = 4 * lowest * sum(shares) - sum(share * loss for share, loss in zip(shares, losses, strict=False))
    other = Sweep(100, list(sweep.points), "highest rate", sweep._average)
    assert not sweep.add(1.0, edge * 0.999)
    assert other.add(1.0, edge * 1.001)
    assert (sweep.ended, other.ended) == ("highest rate", "loss diverged")


def test_suggestions_leave_out_the_first_tenth_and_the_last_five() -> None:
    # A fall of 1 a step, with steeper ones where nobody looks: before step 3 of 30 and in the last five.
    drops = [50, 50, 50, *[1] * 20, 4, *[50] * 6]
    sweep, loss = Sweep(30), 1000.0
    for step, drop in enumerate(drops):
        sweep.points.append(Point(10.0 ** (step / 5), loss, loss))
        loss -= drop
    assert sweep.suggestions()["steepest"] == sweep.points[23].lr
    # 30 points, 3 and 5 left out: 22 that all fall. Index 21 - 22 + 7 + 3 of those.
    assert sweep.suggestions()["valley"] == sweep.points[3 + 9].lr


def test_its_losses_are_those_of_a_plain_loop_over_the_same_text(data: LMData) -> None:
    sweep = SweepSettings(lowest=1e-4, highest=0.3, steps=30)
    model = _model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.7, 0.99), weight_decay=0.01)
    losses, epoch = [], 0
    while len(losses) < 30:
        order = epoch_order(data.train.num_documents, 2, epoch)
        reader, state = LaneReader(data.train, order, 4, "forward"), model.encoder.initial_state(4)
        for start in range(0, reader.max_lane_length, 10):
            length = min(10, reader.max_lane_length - start)
            window = read_window(reader, (start, length), range(4), torch.device("cpu"))
            out = model.encoder(window.inputs, state, DropoutMasks(2, len(losses), range(4), 4))
            counts = Denominators.of_window(window.num_valid, 4, 1)
            loss = lm_loss(model, out, window.targets, Penalties(), counts)
            losses.append(float(loss.cross_entropy_sum) / window.num_valid)
            optimizer.zero_grad()
            loss.total.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)
            optimizer.param_groups[0]["lr"] = 1e-4 * 3000 ** ((len(losses) - 1) / 29)
            optimizer.step()
            state = [(hidden.detach(), cell.detach()) for hidden, cell in out.state]
        epoch += 1
    assert epoch > 1
    found = sweep_rates(_model(), data, SETTINGS, sweep, Silent())
    assert [point.loss for point in found.points] == pytest.approx(losses[:30], rel=1e-3)
    assert found.ended == "highest rate"


def test_the_model_stays_as_it_is_and_a_suggestion_trains_it(data: LMData) -> None:
    model = _model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seen: list[tuple[float, float]] = []

    class Progress(Silent):
        def progress(self, done: float, total: float, **metrics: Any) -> None:
            seen.append((done, total))

    found = sweep_rates(model, data, SETTINGS, SweepSettings(), Progress())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    suggested = found.suggestions()
    # The tiny model learns at rates around 0.01 (test_lm.py) and is ruined by 3.
    assert all(1e-3 < lr < 1.0 for lr in suggested.values())
    assert seen[-1] == (len(found.points), 100)


def test_a_frozen_test_trains_the_decoder_alone(data: LMData) -> None:
    sweep = SweepSettings(lowest=1e-3, highest=0.1, steps=20)
    losses = [
        [point.loss for point in sweep_rates(_model(), data, SETTINGS, changed, Silent()).points]
        for changed in (sweep, sweep.model_copy(update={"frozen": True}))
    ]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_a_loss_that_is_no_number_ends_it_without_a_point(data: LMData) -> None:
    model = _model()
    with torch.no_grad():
        model.encoder.embedding[7] = float("nan")
    found = sweep_rates(model, data, SETTINGS, SweepSettings(), Silent())
    assert (found.ended, found.points) == ("loss is no number", [])
    assert found.suggestions() == {"valley": None, "steepest": None}
    assert math.isnan(model.encoder.embedding[7, 0].item())


def test_a_request_to_stop_ends_it_between_steps(data: LMData) -> None:
    class StopAtThree(Silent):
        def progress(self, done: float, total: float, **metrics: Any) -> None:
            if done == 3:
                STOP.request()

    with pytest.raises(StoppedError, match="stopped by request") as stopped:
        sweep_rates(_model(), data, SETTINGS, SweepSettings(), StopAtThree())
    assert stopped.value.found == "after 3 of 100 steps"
