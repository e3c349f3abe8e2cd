"""The check of this machine, and the files of a site."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from ulmfit_dist.config import data_folder


def test_doctor_finds_this_machine_fit(tmp_path: Path, ulmfit, capsys: pytest.CaptureFixture[str]) -> None:
    assert ulmfit("doctor", tmp_path, "--json") == 0
    found = {row["subject"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["Python"]["found"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert found["recipes"]["good"]


def test_site_writes_every_file_and_never_over_one(tmp_path: Path, ulmfit, capsys: pytest.CaptureFixture[str]) -> None:
    assert ulmfit("site", tmp_path) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "cluster")
    shipped = data_folder("cluster")
    names = [path.relative_to(shipped) for path in shipped.rglob("*") if path.is_file()]
    assert {"README.md", "slurm.sbatch", "node.sh"} <= {name.name for name in names}
    for name in names:
        assert (tmp_path / "cluster" / name).read_bytes() == (shipped / name).read_bytes()
    assert os.access(tmp_path / "cluster" / "node.sh", os.X_OK)
    (tmp_path / "cluster" / "settings.sh").write_text("mine")
    assert ulmfit("site", tmp_path) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "cluster" / "settings.sh").read_text() == "mine"
