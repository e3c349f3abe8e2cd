"""Curves: means between points, and the same points after a stop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ulmfit_dist.training.curves import Curves, StepResult


def _steps(count: int) -> list[StepResult]:
    return [StepResult(step, step // 4, 2.0 * step, 2, 0.1, 0.5) for step in range(count)]


def _without_speed(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in point.items() if key != "tokens_per_s"} for point in points]


def test_points_hold_means_since_the_last_point() -> None:
    curves = Curves(every=3)
    made = [curves.add(result) for result in _steps(7)]
    assert [point is not None for point in made] == [False, False, True, False, False, True, False]
    assert [point["loss"] for point in curves.points] == pytest.approx([1.0, 4.0])
    assert [point["tokens"] for point in curves.points] == [6, 12]
    assert [point["step"] for point in curves.points] == [3, 6]
    assert curves.points[0]["tokens_per_s"] > 0


def test_a_stop_between_points_changes_none() -> None:
    whole = Curves(every=3)
    for result in _steps(9):
        whole.add(result)
    for stop in range(1, 9):
        before = Curves(every=3)
        for result in _steps(9)[:stop]:
            before.add(result)
        after = Curves(every=3)
        after.restore(json.loads(json.dumps(before.state())))
        for result in _steps(9)[stop:]:
            after.add(result)
        assert _without_speed(after.points) == _without_speed(whole.points)
        assert after.done == whole.done


def test_spacing_gives_about_the_wished_number() -> None:
    assert Curves.spaced(1000, 200).every == 5
    assert Curves.spaced(3, 200).every == 1
    assert Curves.spaced(3, 0).every == 3
