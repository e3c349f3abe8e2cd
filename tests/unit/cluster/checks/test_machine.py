"""The checks of one machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ulmfit_dist.cluster.checks import machine as module
from ulmfit_dist.cluster.checks.finding import Level
from ulmfit_dist.cluster.checks.machine import machine, room_in_shared_memory


def test_a_small_shared_memory_is_a_warning(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from ulmfit_dist.cluster.checks.machine import machine"
    script += "; print([f.level.value for f in machine(Path(sys.argv[1])) if f.subject == sys.argv[1]])"
    mount = 'mount -t tmpfs -o size=64m none "$1" && exec "$2" -c "$3" "$1"'  # what a container gets by default
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "-", str(tmp_path)]
    ran = subprocess.run([*command, sys.executable, script], capture_output=True, text=True, check=False)
    if "unshare" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip("no namespaces here")
    assert ran.stdout.strip() == "['warning']", ran.stderr


def test_a_machine_without_shared_memory_is_said(tmp_path: Path) -> None:
    finding = room_in_shared_memory(tmp_path / "none")
    assert finding.level is Level.WARNING
    assert finding.do


def test_what_was_not_tested_or_is_too_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.metadata, "version", lambda _: "2.61.0")
    monkeypatch.setattr(module, "_FREE_MEMORY_GIB", 1e9)
    monkeypatch.setattr(module.sys, "version_info", (3, 10, 0))
    blocked = {finding.subject: finding.do for finding in machine() if finding.level is Level.BLOCKS}
    assert set(blocked) == {"Python", "Ray", "memory"}
    assert all(blocked.values())


def test_a_package_without_its_data_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "data_folder", lambda _: tmp_path)
    assert [finding.level for finding in machine() if finding.subject == "recipes"] == [Level.BLOCKS]
