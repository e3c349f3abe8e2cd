"""Loss spikes: found by median and deviation as numpy has them, once each, whatever came before, across a stop."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ulmfit_dist.training.spikes import Spikes


def _losses(count: int, spread: float = 0.05, slope: float = 0.001) -> list[float]:
    generator = np.random.default_rng(3)
    return [6.0 - slope * step + spread * float(generator.normal()) for step in range(count)]


def _score(losses: list[float], step: int) -> float:
    before = np.array(losses[max(step - 128, 0) : step])
    median = np.median(before)
    return float((losses[step] - median) / (1.4826 * np.median(np.abs(before - median))))


def _found(losses: list[float]) -> list[int]:
    spikes = Spikes()
    return [step for step, loss in enumerate(losses) if spikes.add(loss, step=step) is not None]


def test_a_row_says_where_how_high_and_over_what() -> None:
    losses = _losses(300)
    losses[200] += 2.0
    spikes = Spikes()
    rows = [spikes.add(loss, step=step, norm=0.5) for step, loss in enumerate(losses)]
    (row,) = [row for row in rows if row]
    assert spikes.rows == [row]
    assert (row["step"], row["norm"], row["loss"]) == (200, 0.5, losses[200])
    assert row["usual"] == pytest.approx(np.median(losses[72:200]))
    assert row["score"] == pytest.approx(_score(losses, 200), abs=0.06)


def test_noise_makes_no_row_and_a_small_rise_in_a_quiet_text_neither() -> None:
    assert _found(_losses(3000)) == []
    quiet = _losses(300, spread=0.001, slope=0.0)
    quiet[200] += 0.09
    assert _score(quiet, 200) > 6
    assert _found(quiet) == []
    quiet[200] += 0.1
    assert _found(quiet) == [200]


def test_a_huge_spike_hides_no_later_one() -> None:
    losses = _losses(300)
    losses[150] += 1e6
    losses[160] += 1.0
    assert _found(losses) == [150, 160]


def test_a_spike_of_many_steps_is_one_row_and_a_new_level_becomes_usual() -> None:
    losses = _losses(600)
    for step in range(200, 600):
        losses[step] += 1.5
    losses[500] += 1.5
    assert _found(losses) == [200, 500]


def test_the_first_steps_are_too_few_to_judge() -> None:
    losses = _losses(100)
    losses[31] += 5
    assert _found(losses) == []
    losses[32] += 5
    assert _found(losses) == [32]


def test_a_fall_is_none() -> None:
    losses = _losses(300)
    losses[200] -= 3
    assert _found(losses) == []


def test_a_stop_anywhere_changes_nothing() -> None:
    losses = _losses(260)
    for step in (150, 151, 152, 220):
        losses[step] += 2
    whole = Spikes()
    for step, loss in enumerate(losses):
        whole.add(loss, step=step)
    assert [row["step"] for row in whole.rows] == [150, 220]
    for stop in (10, 149, 150, 151, 153, 221):
        first, second = Spikes(), Spikes()
        for step, loss in enumerate(losses[:stop]):
            first.add(loss, step=step)
        second.restore(json.loads(json.dumps(first.state())))
        for step, loss in enumerate(losses[stop:], stop):
            second.add(loss, step=step)
        assert second.state() == whole.state()
