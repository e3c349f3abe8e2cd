"""A real full disk (a small tmpfs): a clear message, exit 1, nothing bad committed; with more space it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ulmfit_dist.config import data_folder
from ulmfit_dist.corpus.verify import verify_path
from ulmfit_dist.events import Silent
from ulmfit_dist.files import digest_file
from ulmfit_dist.training.checkpoint import CheckpointFolder

SOURCE = data_folder("launch") / "data" / "quickstart" / "movie_reviews.csv.gz"


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        _mount(folder, "size=512k")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no tmpfs here: {error.stderr!r}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _ingest(out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ulmfit_dist", "ingest", str(SOURCE), "--out", str(out)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def _parts(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): digest_file(p) for p in sorted(folder.rglob("*.parquet"))}


def test_a_stage_on_a_full_disk_says_so_and_goes_on_with_more_space(small_disk: Path, tmp_path: Path) -> None:
    failed = _ingest(small_disk / "documents")
    assert failed.returncode == 1
    assert "No space left on device" in failed.stderr
    assert "free space" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (small_disk / "documents" / "stage.json").exists()
    _mount(small_disk, "remount,size=64m")
    assert _ingest(small_disk / "documents").returncode == 0
    assert _ingest(tmp_path / "reference").returncode == 0
    assert _parts(small_disk / "documents") == _parts(tmp_path / "reference")
    assert not [error for _, errors in verify_path(small_disk / "documents") for error in errors]


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(small_disk: Path) -> None:
    folder = CheckpointFolder(small_disk / "checkpoints", reporter=Silent())
    folder.save(1, {"weights": torch.ones(20_000)}, {"step": 1})
    folder.save(2, {"weights": torch.ones(200_000)}, {"step": 2})
    with pytest.raises(OSError, match=r"No space left|os error 28"):
        folder.wait()
    newest = CheckpointFolder(small_disk / "checkpoints", reporter=Silent()).latest()
    assert newest is not None
    assert newest.state["step"] == 1
