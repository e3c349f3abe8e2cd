"""The doctor: what is wrong is bad and has a cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster import doctor
from ulmfit_dist.cluster.doctor import examine


def test_each_problem_has_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_FREE_DISK_GIB", 1e9)
    monkeypatch.setattr(doctor, "_FREE_MEMORY_GIB", 1e9)
    monkeypatch.setattr(doctor.metadata, "version", lambda _: "1.0")
    found = {finding.subject: finding for finding in examine(tmp_path)}
    for subject in ("disk", "memory", "Ray"):
        assert not found[subject].good
        assert found[subject].do
    assert found["writing"].good


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor, "write_bytes", refuse)
    (writing,) = [finding for finding in examine(tmp_path / "not" / "yet") if finding.subject == "writing"]
    assert not writing.good
    assert "Permission denied" in writing.found
    assert not list(tmp_path.iterdir())
