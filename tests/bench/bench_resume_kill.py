"""Twenty kills of one training, at random steps: `pytest -m slow tests/bench/bench_resume_kill.py`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parents[1] / "multiprocess" / "test_resume_kill.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_twenty_times_it_ends_bit_equal(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("resume_kill", _SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.check_kills(tmp_path, 20)
