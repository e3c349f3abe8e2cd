"""The plain step by itself, and on a Hopper GPU the recorded one against it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ulmfit_dist.corpus.lanes import LaneReader
from ulmfit_dist.errors import InputError
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training import steps
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.groups import OptimizerSettings, build_optimizer, set_rates, train_top_groups
from ulmfit_dist.training.losses import Penalties
from ulmfit_dist.training.steps import Numbers, PlainStep, StepSettings, TrainingStep, training_step
from ulmfit_dist.training.windows import DeviceWindow, read_window

HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9
needs_hopper = pytest.mark.skipif(not HOPPER, reason="no Hopper GPU here")
SIZES = AWDLSTMSettings(embedding_size=24, hidden_size=40, num_layers=2)
LANES, WINDOW = 6, 5
COUNT = count()


def _windows(make_stream, counting, device: str, length: int = WINDOW) -> Iterator[DeviceWindow]:
    stream = make_stream(f"stream-{next(COUNT)}", counting(60, 1))
    reader = LaneReader(stream, np.arange(60), LANES, "forward")
    for start in range(0, reader.max_lane_length, length):
        place = (start, min(length, reader.max_lane_length - start))
        yield read_window(reader, place, range(LANES), torch.device(device))


def _start(
    device: str, clip: float = 0.3, accumulation: int = 1
) -> tuple[LanguageModel, TrainingStep, torch.optim.Optimizer]:
    model = LanguageModel(20, SIZES, 1, seed=4).to(device)
    groups = model.layer_groups()
    optimizer = build_optimizer(groups, [1.0] * len(groups), OptimizerSettings())
    set_rates(optimizer, 0.01, None)
    settings = StepSettings(3, LANES, WINDOW, Penalties(), clip, accumulation=accumulation)
    step = training_step(model, settings, Group.single())
    step.train_only(train_top_groups(groups, len(groups)))
    return model, step, optimizer


def test_the_plain_step_moves_its_state_on_in_place(make_stream, counting) -> None:
    _, step, _ = _start("cpu")
    assert isinstance(step, PlainStep)
    assert step.lag == 0
    state, seen = step.state, []
    for number, window in zip(range(3), _windows(make_stream, counting, "cpu"), strict=False):
        step.gradients(number, window)
        assert step.state is state
        assert not any(part.requires_grad for pair in state for part in pair)
        seen.append(state[0][0].clone())
    assert not torch.equal(seen[0], seen[1])
    step.reset_state()
    assert step.state is state
    assert not any(part.any() for pair in state for part in pair)


def test_the_gradient_is_clipped_and_its_norm_is_that_before(make_stream, counting) -> None:
    window = next(_windows(make_stream, counting, "cpu"))
    free, clipped = _start("cpu", clip=0.0), _start("cpu", clip=1e-3)
    norms = [float(step.gradients(0, window).norm) for _, step, _ in (free, clipped)]
    assert norms[0] == norms[1] > 1e-3
    whole = [torch.cat([p.grad.flatten() for p in model.parameters()]) for model, _, _ in (free, clipped)]
    assert float(whole[0].norm()) == pytest.approx(norms[0], rel=1e-5)
    assert float(whole[1].norm()) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(("accumulation", "length"), [(2, 5), (4, 5), (6, 7), (99, 1)])
def test_lanes_in_parts_are_the_same_step(make_stream, counting, accumulation: int, length: int) -> None:
    whole, parts = (_start("cpu", accumulation=count) for count in (1, accumulation))
    windows = list(_windows(make_stream, counting, "cpu", length))
    assert windows[-1].targets.valid_TB is not None  # where some lanes have ended
    for number, window in enumerate(windows):
        expected, found = (step.gradients(number, window) for _, step, _ in (whole, parts))
        assert float(found.loss_sum) == pytest.approx(float(expected.loss_sum), rel=1e-5)
        assert float(found.norm) == pytest.approx(float(expected.norm), rel=1e-4)
        for one, other in zip(whole[0].parameters(), parts[0].parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)
        for ours, theirs in zip(whole[1].state, parts[1].state, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        for _, step, optimizer in (whole, parts):
            step.update(optimizer, torch.tensor(True))


def test_parts_are_refused_where_the_step_is_recorded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(steps, "_triton_found", lambda: True)
    weight = SimpleNamespace(device=torch.device("cuda"))
    model: Any = SimpleNamespace(encoder=LanguageModel(20, SIZES, 1).encoder, decoder_weight=weight)
    settings = StepSettings(3, LANES, WINDOW, Penalties(), 0.3, accumulation=2)
    with pytest.raises(InputError, match="in one piece"):
        training_step(model, settings, Group.single())


def test_numbers_come_as_they_were() -> None:
    values = torch.tensor([1.5, float("inf")], dtype=torch.float64)
    assert Numbers(values).read() == [1.5, float("inf")]


@needs_hopper
def test_a_recorded_step_equals_the_same_step_run_as_it_is(make_stream, counting) -> None:
    from ulmfit_dist.training.steps import FastStep

    runs = []
    for recorded in (True, False):
        _, step, _ = _start("cuda")
        assert isinstance(step, FastStep)
        seen = []
        for number, window in enumerate(_windows(make_stream, counting, "cuda")):
            if not recorded:
                step._recorded.clear()
            gradients = step.gradients(number, window)
            parts = [step._gradient, *(part for pair in step.state for part in pair)]
            seen.append([float(gradients.loss_sum), float(gradients.norm), *(part.float().clone() for part in parts)])
        assert len(seen) > 5
        runs.append(seen)
    for one, two in zip(*runs, strict=True):
        assert one[:2] == pytest.approx(two[:2], rel=1e-3)
        for ours, plain in zip(one[2:], two[2:], strict=True):
            # Recorded, cuBLAS may split a product otherwise: some bfloat16 numbers are rounded the other way.
            assert float((ours - plain).norm()) < 1e-2 * float(plain.norm())


@needs_hopper
def test_the_fast_update_is_the_plain_one_and_stops_for_good_at_a_number_that_is_none(make_stream, counting) -> None:
    window = next(_windows(make_stream, counting, "cuda"))
    model, step, optimizer = _start("cuda", clip=0.05)
    expected, _, plain_optimizer = _start("cuda")
    norm = float(step.gradients(0, window).norm)
    for parameter, plain in zip(model.parameters(), expected.parameters(), strict=True):
        plain.grad = parameter.grad * (0.05 / (norm + 1e-6))
    step.update(optimizer, torch.tensor(True, device="cuda"))
    plain_optimizer.step()
    for parameter, plain in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(parameter, plain, rtol=1e-5, atol=1e-6)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for finite in (False, True):
        step.gradients(1, window)
        step.update(optimizer, torch.tensor(finite, device="cuda"))
    for parameter, kept in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, kept)
    assert {float(state["step"]) for state in optimizer.state.values()} == {1.0}


@needs_hopper
def test_numbers_from_the_gpu_come_as_they_were_when_asked_for() -> None:
    values = torch.tensor([1.0, 2.0], device="cuda")
    numbers = Numbers(values)
    values.zero_()
    assert numbers.read() == [1.0, 2.0]
