"""Simulation of the ledger: 64 GPUs, 100 languages x 4 members. How much of the GPUs lies idle until the tail?

    pytest -m slow -s tests/bench/bench_ledger.py

The decisions are the real ledger's; stages take what was measured (ledger_simulation.py), each off its expected time by
a fifth. Draws ledger.png beside this file.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ledger_simulation import Point, idle_share, many_languages, simulate

from ulmfit_dist.cluster.ledger import Capacity

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GPUS = 64
PLOT = Path(__file__).with_name("ledger.png")


@pytest.mark.parametrize("cpus", [1024, 256])
def test_gpus_are_idle_five_percent_at_most_until_the_tail(cpus: int) -> None:
    plan, seconds = many_languages(100)
    started = time.process_time()
    points = simulate(plan, seconds, Capacity(cpus, GPUS), spread=0.2)
    took = time.process_time() - started
    work = sum(seconds[name] * stage.spec.gpus for name, stage in plan.stages.items()) / GPUS
    idle = idle_share(points, GPUS)
    first = next(point.moment for point in points if point.busy)
    tail = max(point.moment for point in points if point.waiting)
    print(
        f"\n{cpus} CPUs: {len(plan.stages)} stages, {points[-1].moment / 3600:.2f} h (GPU work alone "
        f"{work / 3600:.2f} h); first training after {first:.0f} s; idle until the tail (at {tail / 3600:.2f} h) "
        f"{idle:.2%}; the ledger took {took / len(plan.stages) * 1e3:.2f} ms CPU a stage"
    )
    if cpus == 1024:
        _draw(points, tail, idle)
    assert idle <= 0.05


def _draw(points: list[Point], tail: float, idle: float) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    hours = [point.moment / 3600 for point in points]
    axes.fill_between(hours, [point.busy for point in points], step="post", color="#4477aa", linewidth=0)
    axes.axvline(tail / 3600, color="black", linewidth=0.8, linestyle="--")
    axes.annotate("the tail", (tail / 3600, 4), textcoords="offset points", xytext=(4, 0), fontsize=8)
    axes.set(xlabel="hours", ylabel="GPUs at work", ylim=(0, GPUS), xlim=(0, hours[-1]))
    axes.set_title(f"100 languages x 4 members on {GPUS} GPUs, simulated: {idle:.1%} idle until the tail", fontsize=9)
    figure.savefig(PLOT, dpi=90, metadata={"Software": None})
