"""Property-based tests draw the same examples in every run of `make test`; HYPOTHESIS_PROFILE=random draws new ones.

What `make test` gives its two processes: a file's tests stay together, and those that start processes of their own
follow one another.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch is imported. Threads that wait for each other beside another test take ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ulmfit_dist.cluster  # noqa: F401 - sets Ray's environment, which Ray reads when a test first imports it

# Time limits of an example would fail on a busy machine; what has to be fast has a test of its own.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in this hook too
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Name the group of each test for `--dist=loadgroup`."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here)
        alone = place.parts[0] != "unit" or item.get_closest_marker("ray") is not None
        item.add_marker(pytest.mark.xdist_group("processes" if alone else str(place)))
