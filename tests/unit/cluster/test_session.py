"""Which cluster is used: the option, else the environment, else the embedded one; never whatever happens to run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ulmfit_dist.cluster.session import LOCAL, Where, _sweep_dead, ray_session
from ulmfit_dist.errors import InputError


def test_the_option_wins_over_the_environment_over_the_embedded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert Where.choose(None) == Where(LOCAL)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert Where.choose(None).address == "head:6379"
    assert Where.choose("other:6379").address == "other:6379"
    assert Where.choose(LOCAL, 3) == Where(LOCAL, 3)


def test_a_cluster_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("ray is not reachable\nlong details")

    monkeypatch.setattr("ulmfit_dist.cluster.session.ray.init", refuse)
    expected = "no Ray cluster at nowhere:1; found: ray is not reachable; do:"
    with pytest.raises(InputError, match=expected) as error, ray_session(Where("nowhere:1")):
        pass
    assert error.value.exit_code == 2


def test_only_folders_of_dead_sessions_are_swept(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    names = {
        "dead": f"ulmfit-abc-{dead.pid}-x",
        "mine": f"ulmfit-abc-{os.getpid()}-x",
        "other": f"ulmfit-def-{dead.pid}-x",
    }
    for name in names.values():
        (tmp_path / name / "logs").mkdir(parents=True)
    _sweep_dead(tmp_path, "ulmfit-abc-")
    assert {path.name for path in tmp_path.iterdir()} == {names["mine"], names["other"]}
