"""Schedules against the paper's equation 3 and hand-computed points."""

from __future__ import annotations

import math

import pytest

from ulmfit_dist.training.schedule import Schedule, constant_warmup, cosine, one_cycle, slanted_triangular


def _equation_3(t: int, total: int, cut_frac: float, ratio: float, lr_max: float) -> float:
    cut = math.floor(total * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
    return lr_max * (1 + p * (ratio - 1)) / ratio


@pytest.mark.parametrize(
    ("total", "cut_frac", "ratio"), [(1000, 0.1, 32), (470, 0.1, 32), (64, 0.125, 8), (20, 0.5, 20)]
)
def test_slanted_triangular_is_equation_3_to_six_digits(total: int, cut_frac: float, ratio: float) -> None:
    for t in range(total):
        expected = _equation_3(t, total, cut_frac, ratio, 0.01)
        assert slanted_triangular(0.01, t, total, cut_frac, ratio) == pytest.approx(expected, rel=1e-6)


def test_slanted_triangular_hand_points() -> None:
    # T = 100, cut = 10: lr_max / 32 at the start, lr_max at the cut, half way down at 55.
    rates = [slanted_triangular(0.32, t, 100) for t in (0, 5, 10, 55)]
    assert rates == pytest.approx([0.01, 0.165, 0.32, 0.165])


@pytest.mark.parametrize(("total", "top"), [(5000, 500), (2000, 240), (800, 240), (400, 120)])
def test_the_rise_takes_its_steps_where_the_share_is_less(total: int, top: int) -> None:
    schedule = Schedule(cut_steps=240)
    assert max(range(total), key=lambda step: schedule.at(step, total).lr_factor) == top


@pytest.mark.parametrize("total", [1, 2, 9, 15, 19])
def test_slanted_triangular_stays_positive_where_the_equation_does_not(total: int) -> None:
    rates = [slanted_triangular(1.0, t, total) for t in range(total)]
    assert min(rates) >= 1 / 32 - 1e-12
    assert max(rates) <= 1.0


def test_one_cycle_hand_points() -> None:
    schedule = Schedule(kind="one_cycle", rise_frac=0.25, div=10, final_div=100, momentum=(0.8, 0.7))
    start, top, end = (schedule.at(step, 40) for step in (0, 10, 40))
    assert start == pytest.approx((0.1, 0.8))
    assert top == pytest.approx((1.0, 0.7))
    assert end == pytest.approx((0.01, 0.8))
    assert schedule.at(5, 40) == pytest.approx((0.55, 0.75))
    assert one_cycle(0.2, 10, 40, schedule) == pytest.approx(0.2)


def test_one_cycle_leaves_momentum_alone_unless_asked() -> None:
    assert Schedule(kind="one_cycle").at(3, 10).beta1 is None
    assert Schedule().at(3, 10).beta1 is None


def test_constant_rises_linearly_then_stays() -> None:
    rates = [constant_warmup(0.5, step, 10, 0.3) for step in range(10)]
    assert rates == pytest.approx([0.125, 0.25, 0.375, *[0.5] * 7])
    assert Schedule(kind="constant").at(0, 10).lr_factor == 1.0


def test_cosine_ends_and_middle() -> None:
    assert [cosine(1.0, 3.0, part) for part in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 2.0, 3.0])
