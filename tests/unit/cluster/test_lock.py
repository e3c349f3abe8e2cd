"""One live owner a run directory; a dead one's lock is broken, a living or unknown one's is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ulmfit_dist.cluster.lock import OWNER_NAME, owned
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


def test_an_owner_on_another_host_is_never_broken(tmp_path: Path) -> None:
    (tmp_path / OWNER_NAME).write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 0, "booted": 0}))
    with pytest.raises(LockedError, match="elsewhere"), owned(tmp_path):
        pass
