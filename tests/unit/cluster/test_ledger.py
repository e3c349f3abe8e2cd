"""The ledger's decisions: order, room, places kept, retries held back, failures that block their dependents only."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledger_simulation import idle_share, many_languages, simulate

from ulmfit_dist.cluster.ledger import Capacity, Ledger, expected_seconds
from ulmfit_dist.cluster.plan import Output, Plan, PlannedStage, StageSpec
from ulmfit_dist.config import Settings
from ulmfit_dist.files import write_json

BIG = Capacity(100.0, 0.0)


def _plan(stages: dict[str, tuple[list[str], float, float]]) -> Plan:
    """{name: (upstream, cpus, gpus)} -> a plan; inputs come before their users."""
    planned = []
    for name, (upstream, cpus, gpus) in stages.items():
        spec = StageSpec(name, "job", Settings(), {u: Output(u) for u in upstream}, cpus, gpus)
        planned.append(PlannedStage(spec, name, Path(f"{name}-12345678"), {}, tuple(upstream), {}))
    return Plan(planned)


def _ledger(stages: dict[str, tuple[list[str], float, float]], seconds: dict[str, float], total: Capacity) -> Ledger:
    return Ledger(_plan(stages), {name: seconds.get(name, 1.0) for name in stages}, total)


def _names(ledger: Ledger, now: float = 0.0) -> list[str]:
    return [stage.name for stage in ledger.choose(now)]


def test_the_longest_way_to_the_end_comes_first_by_seconds_not_by_stages() -> None:
    stages = {
        "many": ([], 1.0, 0.0),
        "then": (["many"], 1.0, 0.0),
        "last": (["then"], 1.0, 0.0),
        "long": ([], 1.0, 0.0),
    }
    assert _names(_ledger(stages, {"long": 10.0}, BIG)) == ["long", "many"]
    assert _names(_ledger(stages, {"long": 2.0}, BIG)) == ["many", "long"]


def test_nothing_starts_that_does_not_fit_or_whose_inputs_are_missing() -> None:
    ledger = _ledger({f"s{i}": ([], 1.0, 0.0) for i in range(5)} | {"end": (["s0"], 1.0, 0.0)}, {}, Capacity(2.5, 0))
    first = _names(ledger)
    assert first == ["s0", "s1"]
    for name in first:
        ledger.started(name, 0.0)
    assert _names(ledger) == []
    assert ledger.free() == Capacity(0.5, 0.0)
    ledger.done("s0")
    assert _names(ledger) == ["end"] or _names(ledger) == ["s2"]
    ledger.started("end", 1.0)
    assert set(ledger.needs()) == {"s1", "end"}


def test_fractions_of_a_gpu_fill_it_whole() -> None:
    ledger = _ledger({f"s{i}": ([], 0.1, 0.1) for i in range(11)}, {}, Capacity(8, 1))
    assert len(_names(ledger)) == 10


def test_gpus_are_needed_by_what_runs_on_them_and_by_what_waits_for_them_alone() -> None:
    stages = {"read": ([], 1.0, 0.0), "a": ([], 2.0, 1.0), "b": ([], 4.0, 8.0), "c": (["b"], 1.0, 1.0)}
    ledger = _ledger(stages, {}, Capacity(8, 1))
    ledger.started("a", 0.0)
    assert [stage.name for stage in ledger.ready()] == ["b", "read"]
    assert ledger.gpu_needs() == [Capacity(2, 1), Capacity(4, 8)]
    ledger.done("a")
    assert ledger.gpu_needs() == [Capacity(4, 8)]


def test_a_stage_that_wants_more_cpus_than_there_are_takes_them_all() -> None:
    ledger = _ledger({"wide": ([], 64.0, 0.0), "small": ([], 1.0, 0.0)}, {"wide": 5.0}, Capacity(2, 0))
    assert _names(ledger) == ["wide"]


def test_a_place_is_kept_for_the_first_that_does_not_fit() -> None:
    stages = {
        "a": ([], 0.0, 1.0),
        "b": ([], 0.0, 3.0),
        "wide": ([], 0.0, 4.0),
        "long": ([], 0.0, 1.0),
        "short": ([], 0.0, 1.0),
    }
    ledger = _ledger(stages, {"a": 5, "b": 10, "wide": 100, "long": 50, "short": 4}, Capacity(8, 4))
    for name in ("a", "b"):
        ledger.started(name, 0.0)
    ledger.done("a")
    # At 5 s one GPU is free; wide can start at 10 s. What ends by then may use it, what takes longer may not.
    assert _names(ledger, 5.0) == ["short"]


def test_a_stage_beside_the_kept_place_may_be_long() -> None:
    stages = {"b": ([], 0.0, 3.0), "wide": ([], 0.0, 3.0), "long": ([], 0.0, 1.0)}
    ledger = _ledger(stages, {"b": 10, "wide": 100, "long": 50}, Capacity(8, 4))
    ledger.started("b", 0.0)
    assert _names(ledger, 1.0) == ["long"]


def test_idle_gpus_are_fed_before_the_longest_way() -> None:
    stages = {
        "read-long": ([], 1.0, 0.0),
        "cut-long": (["read-long"], 1.0, 0.0),
        "train-long": (["cut-long"], 0.0, 1.0),
        "read-short": ([], 1.0, 0.0),
        "train-short": (["read-short"], 0.0, 1.0),
    }
    seconds = {"train-long": 100.0, "train-short": 50.0}
    ledger = _ledger(stages, seconds, Capacity(1, 1))
    assert _names(ledger) == ["read-short"], "one step from a training, while the GPU lies idle"
    ledger.done("read-short")
    assert _names(ledger)[0] == "read-long"
    ledger.started("train-short", 0.0)
    assert _names(ledger) == ["read-long"]


def test_a_failure_blocks_what_depends_on_it_and_nothing_else() -> None:
    stages = {"a": ([], 1.0, 0.0), "b": (["a"], 1.0, 0.0), "c": (["b"], 1.0, 0.0), "d": ([], 1.0, 0.0)}
    ledger = _ledger(stages, {}, BIG)
    for name in ("a", "d"):
        ledger.started(name, 0.0)
    assert ledger.give_up("a") == {"b", "c"}
    assert ledger.give_up("b") == set()
    ledger.done("d")
    assert ledger.reached_an_end()
    assert not ledger.waits()


def test_a_stage_tried_again_waits_its_time() -> None:
    ledger = _ledger({"a": ([], 1.0, 0.0)}, {}, BIG)
    ledger.started("a", 0.0)
    assert not ledger.waits()
    ledger.again("a", 7.0)
    assert ledger.waits()
    assert _names(ledger, 6.9) == []
    assert _names(ledger, 7.0) == ["a"]


def test_a_finished_stage_whose_input_is_gone_is_not_run_again() -> None:
    ledger = _ledger({"a": ([], 1.0, 0.0), "b": (["a"], 1.0, 0.0)}, {}, BIG)
    ledger.done("b")
    assert _names(ledger) == ["a"]
    ledger.done("a")
    assert not ledger.waits()


def test_past_seconds_come_by_name_then_by_kind_then_from_all(tmp_path: Path) -> None:
    for name, kind, took in (("a-11111111", "job", 4.0), ("a-22222222", "job", 6.0), ("x-y-33333333", "other", 20.0)):
        write_json(tmp_path / "stages" / name / "stage.json", {"kind": kind, "seconds": took})
    plan = _plan({"a": ([], 1.0, 0.0), "b": ([], 1.0, 0.0), "x-y": ([], 1.0, 0.0)})
    assert expected_seconds(plan, tmp_path) == {"a": 5.0, "b": 5.0, "x-y": 20.0}
    assert set(expected_seconds(plan, tmp_path / "nowhere").values()) == {1.0}
    unknown = Plan([PlannedStage(StageSpec("n", "new", Settings(), {}), "n", Path("n"), {}, (), {})])
    assert expected_seconds(unknown, tmp_path)["n"] == pytest.approx(10.0)


@pytest.mark.parametrize("total", [Capacity(64, 8), Capacity(16, 4)])
def test_a_simulated_cluster_is_never_overbooked_and_seldom_idle(total: Capacity) -> None:
    plan, seconds = many_languages(12)
    points = simulate(plan, seconds, total, spread=0.2)
    assert max(point.busy for point in points) == total.gpus
    assert idle_share(points, total.gpus) <= 0.1
