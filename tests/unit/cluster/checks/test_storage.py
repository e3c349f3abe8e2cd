"""The run folder's checks against real file systems: full, read-only, and without working locks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ulmfit_dist.cluster.checks import storage as module
from ulmfit_dist.cluster.checks.finding import Level
from ulmfit_dist.cluster.checks.storage import storage

_SCRIPT = """
import json, sys
from pathlib import Path
from ulmfit_dist.cluster.checks.storage import storage
print(json.dumps({finding.subject: finding.as_json() for finding in storage(Path(sys.argv[1]))}))
"""


def on_mount(folder: Path, options: str) -> dict[str, dict[str, object]]:
    """Look at a memory file system of our own, in a mount namespace of our own."""
    mount = f'mount -t tmpfs -o {options} none "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "-", str(folder)]
    ran = subprocess.run([*command, sys.executable, _SCRIPT], capture_output=True, text=True, check=False)
    if "unshare" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip("no namespaces here")
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))


def test_a_good_folder_is_good_and_stays_as_it_was(tmp_path: Path) -> None:
    assert [finding.subject for finding in storage(tmp_path) if finding.good] == ["disk", "writing", "file locks"]
    assert not list(tmp_path.iterdir())


def test_a_small_file_system_has_too_little_room(tmp_path: Path) -> None:
    found = on_mount(tmp_path, "size=1m")
    assert found["disk"]["level"] == "blocks"
    assert found["writing"]["good"]


def test_a_read_only_file_system_cannot_be_written(tmp_path: Path) -> None:
    found = on_mount(tmp_path, "ro")
    assert found["writing"]["level"] == "blocks"
    assert "Read-only" in str(found["writing"]["found"])
    assert found["writing"]["do"]
    assert "file locks" not in found


def test_locks_that_exclude_nobody_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a file system does that is mounted with local locks on each node.
    monkeypatch.setattr(module.fcntl, "flock", lambda *_: None)
    (locks,) = [finding for finding in storage(tmp_path) if finding.subject == "file locks"]
    assert locks.level is Level.WARNING
    assert "two processes hold the same lock" in locks.found


def test_a_lock_that_is_refused_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HOLDER", "raise OSError(37, 'No locks available')")
    (locks,) = [finding for finding in storage(tmp_path) if finding.subject == "file locks"]
    assert locks.level is Level.WARNING
    assert "No locks available" in locks.found
