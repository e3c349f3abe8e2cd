"""Unit tests of the cluster package run without a Ray, also where other tests have left one on."""

from __future__ import annotations

import pytest
import ray


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the code think that no Ray is there: phases then run in this process."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
