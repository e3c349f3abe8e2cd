"""`status`, `watch` and `cancel` by command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from run_files import make_run, own, progress, tell

Ulmfit = Callable[..., int]
OWN = """
import pathlib, sys, time
from ulmfit_dist.cluster.lock import owned
from ulmfit_dist.cluster.stopping import StopRequest
run = pathlib.Path(sys.argv[1])
with owned(run):
    request = StopRequest(run)
    print("owned", flush=True)
    while (error := request.made()) is None:
        time.sleep(0.05)
sys.exit(error.exit_code)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_run(tmp_path)
    tell(tmp_path, 2.0, "stage-started", name="pretrain", fingerprint="pretrain-1", attempt=1)
    tell(tmp_path, 3.0, "stage-placed", stage="pretrain", host="[bold]node7", pid=5)
    progress(tmp_path, "pretrain", 7.0, done=42, total=100, loss=5.5, tokens_per_s=12345.6)
    tell(tmp_path, 7.0, "stage-failed", name="other", reason="[red] died", detail="", blocks=[])
    return tmp_path


def test_status_is_a_table_once_off_a_terminal(run: Path, ulmfit: Ulmfit, capsys: pytest.CaptureFixture[str]) -> None:
    own(run)
    assert ulmfit("status", run) == 0
    out = " ".join(capsys.readouterr().out.split())
    for part in ("running", "pretrain", "42%", "12,346", "5.500", "00:05", "[bold]node7", "[red] died", "3 waiting"):
        assert part in out, part


def test_status_as_json(run: Path, ulmfit: Ulmfit, capsys: pytest.CaptureFixture[str]) -> None:
    assert ulmfit("status", run, "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert status["state"] == "dead"
    assert {stage["name"]: stage["state"] for stage in status["stages"]}["other"] == "failed"


def test_cancel_stops_the_live_coordinator_which_ends_with_6(
    run: Path, ulmfit: Ulmfit, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", OWN, str(run)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "owned\n"
        assert ulmfit("cancel", run) == 0
        assert owner.wait(10) == 6
    assert "stopped" in capsys.readouterr().out
    assert not (run / "cancel").exists()


def test_cancel_says_when_the_run_is_still_there(run: Path, ulmfit: Ulmfit) -> None:
    own(run)
    assert ulmfit("cancel", run, "--wait", "0.2") == 1
    assert (run / "cancel").exists()


def test_cancel_of_a_run_that_does_not_live_is_refused(
    run: Path, ulmfit: Ulmfit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ulmfit("cancel", run) == 2
    assert "no live run" in capsys.readouterr().err
    assert not (run / "cancel").exists()


def test_watch_serves_until_it_is_interrupted(run: Path) -> None:
    command = [sys.executable, "-u", "-m", "ulmfit_dist", "watch", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert b"<html" in urllib.request.urlopen(address).read()
        server.send_signal(signal.SIGINT)
        assert server.wait(10) == 0


def test_status_on_a_terminal_follows_the_run_to_its_end(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from rich.console import Console

    from ulmfit_dist.cli import watching

    out = io.StringIO()
    monkeypatch.setattr(watching, "STDOUT", Console(file=out, force_terminal=True, width=160, height=40))
    monkeypatch.setattr(watching, "_INTERVAL_S", 0.05)
    own(run)

    def finish() -> None:
        tell(run, 9.0, "stage-finished", name="pretrain", fingerprint="pretrain-1", seconds=7.0)
        tell(run, 9.0, "run-finished", failed=["other"], blocked=[])
        (run / "owner.json").unlink()

    threading.Timer(0.4, finish).start()
    started = time.monotonic()
    watching.status(run)
    assert time.monotonic() - started >= 0.3
    assert "1 done" in out.getvalue()
