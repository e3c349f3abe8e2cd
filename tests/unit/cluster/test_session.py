"""Which cluster is used: the option, else the environment, else the embedded one; never whatever happens to run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ulmfit_dist.cluster.session import LOCAL, Where, _end_autoscaler, ray_session
from ulmfit_dist.errors import InputError, SignalledError


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

    monkeypatch.setattr("ray.init", refuse)
    expected = "no Ray cluster at nowhere:1; found: ray is not reachable; do:"
    with pytest.raises(InputError, match=expected) as error, ray_session(Where("nowhere:1")):
        pass
    assert error.value.exit_code == 2


@pytest.mark.parametrize("address", ["nowhere:1", LOCAL])
def test_sigterm_while_ray_starts_has_its_own_exit_code(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(*_: object, **__: object) -> None:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))  # as Ray does
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("ray.init", init)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SignalledError, match="stopped by SIGTERM") as error, ray_session(Where(address)):
        pass
    assert error.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_ending_the_autoscaler_ends_no_other_process(tmp_path: Path) -> None:
    scripts = [tmp_path / name for name in ("ray/autoscaler/_private/monitor.py", "other/monitor.py")]
    for script in scripts:
        script.parent.mkdir(parents=True)
        script.write_text("import sys; sys.stdin.read()")
    with contextlib.ExitStack() as stack:
        run = [sys.executable, "-u"]
        autoscaler, other = (
            stack.enter_context(subprocess.Popen([*run, str(script), "--logs"], stdin=subprocess.PIPE))
            for script in scripts
        )
        _end_autoscaler()
        assert autoscaler.wait(timeout=10) == -signal.SIGKILL
        assert other.poll() is None
