"""When a training saves and stops."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from ulmfit_dist.training.group import Group
from ulmfit_dist.training.pace import Pace, Request
from ulmfit_dist.training.stop import STOP, StopFlag


@pytest.fixture(autouse=True)
def _clear() -> Iterator[None]:
    yield
    STOP.clear()


def _requests(pace: Pace, steps: int) -> list[Request]:
    out = []
    for step in range(steps):
        assert pace.agree(torch.tensor(2.5), step) == 2.5
        out.append(pace.request(last=step == steps - 1))
    return out


def test_by_steps_and_at_the_end() -> None:
    nothing, checkpoint = Request.NOTHING, Request.CHECKPOINT
    assert _requests(Pace(Group(), 0, 2), 5) == [nothing, checkpoint, nothing, checkpoint, checkpoint]


def test_never_but_at_the_end() -> None:
    assert _requests(Pace(Group(), 0, 0), 3) == [Request.NOTHING, Request.NOTHING, Request.CHECKPOINT]


def test_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pace = Pace(Group(), 10.0, 0)
    seen = []
    for second in (5, 10, 15, 20):
        now[0] = float(second)
        pace.agree(torch.tensor(0.0), 0)
        seen.append(pace.request(last=False))
    assert seen == [Request.NOTHING, Request.CHECKPOINT, Request.NOTHING, Request.CHECKPOINT]


def test_a_stop_request_is_taken_up_at_the_next_step_but_not_when_the_work_is_done() -> None:
    pace = Pace(Group(), 0, 0)
    assert _requests(pace, 2)[0] is Request.NOTHING
    STOP.request()
    assert _requests(pace, 2) == [Request.STOP, Request.CHECKPOINT]


def test_only_rank_0_watches_the_clock() -> None:
    assert not Pace(Group(1, 2), 1e-9, 1)._is_due(0)
    assert Pace(Group(0, 2), 1e-9, 0)._is_due(0)


def test_what_is_noted_late_is_kept_until_it_is_done() -> None:
    pace = Pace(Group(), 0, 2)
    shared = [pace.share(torch.tensor(2.5), step).tolist() for step in range(4)]
    assert [pace.note(numbers) for numbers in shared[:3]] == [2.5] * 3
    # Step 1 asked for it; that step 2 did not takes nothing back.
    assert pace.wanted
    assert pace.request(last=False) is Request.CHECKPOINT
    assert not pace.wanted
    pace.note(shared[3])
    assert pace.request(last=False) is Request.CHECKPOINT


def test_a_wish_to_save_is_taken_up_once_and_the_training_goes_on() -> None:
    pace = Pace(Group(), 0, 0)
    STOP.request_save()
    assert _requests(pace, 3) == [Request.CHECKPOINT, Request.NOTHING, Request.CHECKPOINT]


def test_any_rank_may_wish_to_save() -> None:
    STOP.request_save()
    assert Pace(Group(1, 1), 0, 0).share(torch.tensor(1.0), 0).tolist() == [1.0, 0.0, 1.0]


def test_stop_flag() -> None:
    flag = StopFlag()
    assert not flag.requested
    flag.request()
    flag.request_save()
    assert flag.requested
    flag.clear()
    assert not flag.requested
    assert not flag.take_save()
