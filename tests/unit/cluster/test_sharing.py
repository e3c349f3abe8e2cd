"""Several runs on one cluster: nothing is promised twice, nobody starves."""

from __future__ import annotations

from ulmfit_dist.cluster.ledger import Capacity
from ulmfit_dist.cluster.sharing import LONG_WAIT_S, NEW_BOARD_S, SILENT_S, Alone, Shares

TOTAL = Capacity(64.0, 8.0)
GPU = (1.0, 1.0)


class Run:
    """A run that starts what it may, and ends its oldest stage when told to."""

    def __init__(self, shares: Shares, name: str, need: tuple[float, float] = GPU) -> None:
        self.shares, self.name, self.need = shares, name, need
        self.held: dict[str, tuple[float, float]] = {}
        self.next = 0

    def ask(self, now: float, want: int = 100) -> int:
        wanted = {f"{self.name}{self.next + i}": self.need for i in range(want)}
        granted = self.shares.ask(self.name, self.held, wanted, TOTAL, now)
        self.held |= dict.fromkeys(granted, self.need)
        self.next += want
        return len(granted)

    def end_one(self) -> None:
        self.held.pop(next(iter(self.held)))


def test_one_run_may_have_everything() -> None:
    assert Run(Shares(0.0), "a").ask(10.0) == 8
    assert Alone().ask({}, {"a": GPU, "b": GPU}, TOTAL) == ["a", "b"]


def test_a_new_board_waits_until_the_runs_have_told_what_they_hold() -> None:
    shares = Shares(100.0)
    run = Run(shares, "a")
    assert run.ask(100.0 + NEW_BOARD_S / 2) == 0
    assert run.ask(100.0 + NEW_BOARD_S) == 8


def test_nothing_is_promised_twice() -> None:
    shares = Shares(0.0)
    a, b = Run(shares, "a"), Run(shares, "b")
    assert a.ask(10.0, want=5) == 5
    assert b.ask(10.0) == 3


def test_a_late_run_gets_its_half_as_the_early_one_ends_stages() -> None:
    shares = Shares(0.0)
    early, late = Run(shares, "early"), Run(shares, "late")
    assert early.ask(10.0) == 8
    assert late.ask(11.0) == 0
    for step in range(20):
        (early if len(early.held) > len(late.held) else late).end_one()
        assert early.ask(12.0 + step) + late.ask(12.5 + step) == 1, "a GPU lies idle"
    assert (len(early.held), len(late.held)) == (4, 4)


def test_what_the_other_does_not_want_is_not_kept_for_it() -> None:
    shares = Shares(0.0)
    a, b = Run(shares, "a"), Run(shares, "b")
    assert b.ask(10.0, want=1) == 1
    assert b.ask(10.1, want=0) == 0
    assert a.ask(10.2) == 7


def test_a_stage_larger_than_a_share_has_its_turn() -> None:
    shares = Shares(0.0)
    small, wide = Run(shares, "small"), Run(shares, "wide", (8.0, 8.0))
    assert small.ask(10.0) == 8
    assert wide.ask(10.0, want=1) == 0
    now = 10.0
    while now < 10.0 + LONG_WAIT_S - 1:
        now += 1
        small.end_one()
        assert small.ask(now) == 1, "it must not lie idle for a minute"
        assert wide.ask(now, want=1) == 0
    now += 2
    for _ in range(8):
        assert wide.ask(now, want=1) == 0
        small.end_one()
        assert small.ask(now) == 0
    assert wide.ask(now, want=1) == 1


def test_a_run_that_is_silent_is_forgotten_and_one_that_leaves_at_once() -> None:
    shares = Shares(0.0)
    a, b, c = Run(shares, "a"), Run(shares, "b"), Run(shares, "c")
    assert a.ask(10.0) == 8
    assert b.ask(10.0 + SILENT_S - 1) == 0
    assert b.ask(10.0 + SILENT_S + 1) == 8
    shares.leave("b")
    assert c.ask(10.0 + SILENT_S + 2) == 8


def test_cpu_stages_of_one_run_do_not_wait_for_gpus_of_another() -> None:
    shares = Shares(0.0)
    gpus, cpus = Run(shares, "gpus"), Run(shares, "cpus", (4.0, 0.0))
    assert gpus.ask(10.0) == 8
    assert cpus.ask(10.0) == 14
