"""The plan: every step found directly, phases in order."""

from __future__ import annotations

import pytest

from ulmfit_dist.corpus.lanes import window_lengths
from ulmfit_dist.training.plan import Phase, TrainingPlan, WindowPlan

HEAD, ALL = Phase(1, 0.1, 1), Phase(2, 0.2, 4)
WINDOWS = WindowPlan(lane_length=300, bptt=20, jitter=True, seed=3)


def test_positions_cover_every_epoch_without_gap_or_overlap() -> None:
    plan = TrainingPlan(WINDOWS, [HEAD, ALL])
    positions = [plan.position(step) for step in range(plan.total_steps)]
    assert [position.step for position in positions] == list(range(plan.total_steps))
    for epoch in range(3):
        own = [position for position in positions if position.epoch == epoch]
        drawn = window_lengths(300, 20, True, 3, epoch).cumsum()
        ends = [position.start + position.length for position in own]
        # Every window ends at the multiple of 5 that is nearest to where it was drawn, the last at the end.
        assert set(ends[:-1]) == {5 * ((end + 2) // 5) for end in drawn[:-1].tolist()} - {0, 300}
        assert ends[-1] == 300
        assert [position.start for position in own] == [sum(p.length for p in own[:i]) for i in range(len(own))]
        assert [position.last_of_epoch for position in own] == [False] * (len(own) - 1) + [True]
        assert list(plan.epoch_positions(epoch)) == own
        assert list(plan.epoch_positions(epoch, own[3].step)) == own[3:]


def test_the_longest_window_is_that_of_all_epochs() -> None:
    plan = TrainingPlan(WINDOWS, [HEAD, ALL])
    assert plan.longest_window == max(plan.position(step).length for step in range(plan.total_steps))


def test_phases_follow_each_other_with_their_own_clock() -> None:
    plan = TrainingPlan(WINDOWS, [HEAD, ALL])
    first = len(list(plan.epoch_positions(0)))
    rest = plan.total_steps - first
    assert plan.phase(0) == (HEAD, 0, first)
    assert plan.phase(first - 1) == (HEAD, first - 1, first)
    assert plan.phase(first) == (ALL, 0, rest)
    assert plan.phase(plan.total_steps - 1) == (ALL, rest - 1, rest)
    with pytest.raises(IndexError):
        plan.phase(plan.total_steps)


def test_a_phase_without_epochs_is_no_phase() -> None:
    plan = TrainingPlan(WINDOWS, [Phase(0, 0.1, 1), ALL])
    assert plan.phases == [ALL]
    assert plan.num_epochs == 2


def test_epoch_of_a_step_at_the_boundaries() -> None:
    plan = TrainingPlan(WindowPlan(100, 10, jitter=False, seed=0), [ALL])
    assert [plan.epoch_of(step) for step in (0, 9, 10, 19, 20)] == [0, 0, 1, 1, 2]
