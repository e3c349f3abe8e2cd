"""The check of this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest


def test_doctor_finds_this_machine_fit(tmp_path: Path, ulmfit, capsys: pytest.CaptureFixture[str]) -> None:
    assert ulmfit("doctor", tmp_path, "--json") == 0
    found = {row["subject"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["Python"]["found"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert found["recipes"]["good"]
