"""One live owner a run directory; a dead one's lock is broken, a living or unknown one's is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from ulmfit_dist.cluster import lock
from ulmfit_dist.cluster.lock import OWNER_NAME, owned, read_owner
from ulmfit_dist.errors import LockedError

HOLD = """
import sys, pathlib, time
from ulmfit_dist.cluster.lock import owned
with owned(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_living_owner_keeps_others_out_and_a_killed_one_does_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError) as error, owned(tmp_path):
            pass
        assert f"process {holder.pid} on host" in str(error.value)
        assert error.value.exit_code == 4
        holder.kill()
    with owned(tmp_path):
        assert json.loads((tmp_path / OWNER_NAME).read_text())["pid"] == os.getpid()
    assert not (tmp_path / OWNER_NAME).exists()


def test_a_reused_pid_does_not_count_as_alive(tmp_path: Path) -> None:
    mine = psutil.Process()
    with owned(tmp_path):
        owner = json.loads((tmp_path / OWNER_NAME).read_text())
    (tmp_path / OWNER_NAME).write_text(json.dumps({**owner, "started": mine.create_time() - 100}))
    with owned(tmp_path):
        assert json.loads((tmp_path / OWNER_NAME).read_text())["started"] == pytest.approx(mine.create_time())


def _elsewhere(run_dir: Path) -> Path:
    path = run_dir / OWNER_NAME
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 0, "machine": "another boot"}))
    return path


def test_an_owner_on_another_machine_that_beats_is_not_broken(tmp_path: Path) -> None:
    path = _elsewhere(tmp_path)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.3):
            os.utime(path)

    threading.Thread(target=beat).start()
    try:
        with pytest.raises(LockedError, match="process 1 on host elsewhere"), owned(tmp_path):
            pass
    finally:
        ended.set()
    assert json.loads(path.read_text())["host"] == "elsewhere"


def test_a_machine_that_is_silent_for_the_lease_loses_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEASE_S", 1.5)
    _elsewhere(tmp_path)
    started = time.monotonic()
    with owned(tmp_path):
        assert time.monotonic() - started >= 1.5
        assert json.loads((tmp_path / OWNER_NAME).read_text())["pid"] == os.getpid()
        assert read_owner(tmp_path) == (json.loads((tmp_path / OWNER_NAME).read_text()), True)
    assert read_owner(tmp_path) is None


def test_an_owner_whose_place_was_taken_stops(tmp_path: Path) -> None:
    hold = HOLD.replace("with owned", "from ulmfit_dist.cluster import lock\nlock.BEAT_S = 0.2\nwith owned")
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True) as paused:
        assert paused.stdout is not None
        assert paused.stdout.readline() == "held\n"
        paused.send_signal(signal.SIGSTOP)
        path = _elsewhere(tmp_path)
        paused.send_signal(signal.SIGCONT)
        assert paused.wait(10) == -signal.SIGTERM
    assert json.loads(path.read_text())["host"] == "elsewhere", "it took its successor's file away"


def test_of_many_that_find_a_dead_owner_one_at_a_time_gets_in(tmp_path: Path) -> None:
    enter = """
import sys, pathlib, time
from ulmfit_dist.cluster.lock import owned
from ulmfit_dist.errors import LockedError
run = pathlib.Path(sys.argv[1])
while not (run / "go").exists():
    pass
try:
    with owned(run):
        (run / f"in-{time.monotonic_ns()}").touch(exist_ok=False)
        inside = run / "inside"
        inside.touch(exist_ok=False)
        time.sleep(0.3)
        inside.unlink()
except LockedError:
    sys.exit(4)
"""
    with owned(tmp_path):
        mine = json.loads((tmp_path / OWNER_NAME).read_text())
    (tmp_path / OWNER_NAME).write_text(json.dumps({**mine, "started": mine["started"] - 100}))
    processes = [subprocess.Popen([sys.executable, "-c", enter, str(tmp_path)]) for _ in range(6)]
    time.sleep(1.5)
    (tmp_path / "go").touch()
    codes = [process.wait(30) for process in processes]
    assert set(codes) <= {0, 4}, codes
    assert codes.count(0) == len(list(tmp_path.glob("in-*"))) >= 1
    assert not list(tmp_path.glob(f"{OWNER_NAME}*"))
