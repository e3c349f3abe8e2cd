"""Planning at size: 10,000 stages in at most 5 seconds, from the recipe's file to every fingerprint and estimate."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from ulmfit_dist.cluster.estimate import estimates
from ulmfit_dist.cluster.grid import load_sweep
from ulmfit_dist.cluster.plan import SourceDigests, make_plan
from ulmfit_dist.cluster.union import sweep_specs
from ulmfit_dist.config import data_folder
from ulmfit_dist.stages import STAGES

pytestmark = pytest.mark.slow

STAGES_WANTED, MOST_SECONDS = 10_000, 5.0


def _planned(folder: Path) -> tuple[int, dict[str, float]]:
    """Plan once; return the number of stages and the CPU seconds of each part."""
    overrides = [
        "grid.seed=[1, 2, 3, 4, 5]",
        f"grid.classifier.train_size={list(range(10, 1670, 10))}",
        "grid.classifier.lr=[0.01, 0.02]",
    ]
    moments = [time.process_time()]
    sweep = load_sweep(data_folder("launch") / "quickstart.toml", overrides)
    moments.append(time.process_time())
    specs = sweep_specs(sweep)
    moments.append(time.process_time())
    plan = make_plan(specs, STAGES, folder, SourceDigests(None))
    moments.append(time.process_time())
    estimates(plan)
    moments.append(time.process_time())
    parts = ("recipes", "union", "fingerprints", "estimates")
    took = {name: end - begin for name, (begin, end) in zip(parts, pairwise(moments), strict=True)}
    return len(plan.stages), took


def test_ten_thousand_stages(tmp_path: Path) -> None:
    stages, took = min((_planned(tmp_path) for _ in range(3)), key=lambda found: sum(found[1].values()))
    parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in took.items())
    print(f"{stages:,} stages of 1,660 runs: {sum(took.values()):.2f} CPU seconds ({parts}), best of 3")
    assert stages >= STAGES_WANTED
    assert sum(took.values()) <= MOST_SECONDS
