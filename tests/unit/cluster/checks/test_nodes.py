"""What is compared between nodes. The questions themselves are asked in tests/multiprocess/test_sites.py."""

from __future__ import annotations

import pytest

from ulmfit_dist.cluster.checks.finding import Level
from ulmfit_dist.cluster.checks.nodes import clock, same_versions, stop_grace


@pytest.mark.parametrize(
    ("ahead", "error", "level"),
    [
        (0.1, 0.05, Level.GOOD),
        (-3.0, 0.1, Level.WARNING),
        (3.0, 2.0, Level.GOOD),  # the answer took long: nothing is known
        (-31.0, 0.5, Level.BLOCKS),
        (3600.0, 1.0, Level.BLOCKS),
    ],
)
def test_a_clock_is_judged_by_what_is_certain(ahead: float, error: float, level: Level) -> None:
    assert clock("n1", (ahead, error)).level is level


def test_another_version_is_named_with_its_node() -> None:
    here = {"Ray": "2.60.0", "ulmfit_dist": "abc"}
    assert same_versions(here, {"n1": here, "n2": dict(here)}).good
    finding = same_versions(here, {"n1": here, "n2": {"Ray": "2.60.0", "ulmfit_dist": "def"}, "n3": {"Ray": "2.60.0"}})
    assert finding.level is Level.BLOCKS
    assert finding.found == "ulmfit_dist def on n2, abc here; ulmfit_dist missing on n3, abc here"


def test_a_short_grace_is_a_warning() -> None:
    assert stop_grace({"n1": 30.0, "n2": 10.0}).good
    finding = stop_grace({"n1": 30.0, "n2": 3.0})
    assert (finding.level, finding.found) == (Level.WARNING, "3 s on n2")
