"""GPU use is asked of nvidia-smi, for the process's own GPUs, and its absence or its errors change nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ulmfit_dist.cluster.gpuuse import gpu_use_told
from ulmfit_dist.events import EventLog, read_events


def _tool(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def _told(folder: Path, until: int) -> list[dict[str, object]]:
    path, deadline = folder / "events.jsonl", time.monotonic() + 10
    with gpu_use_told(EventLog(path), interval_s=0.05):
        while len(read_events(path)) < until and time.monotonic() < deadline:
            time.sleep(0.01)
    return read_events(path)


def test_each_gpu_of_the_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tool(tmp_path, f'echo "$1" > {tmp_path}/asked; echo "2, 87, 40123, 81559"; echo "5, 0, 10, 81559"', monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    first, second = _told(tmp_path, 2)[:2]
    assert (first["kind"], first["gpu"], first["busy"], first["memory"]) == ("gpu-use", 2, 0.87, 40123.0)
    assert (second["gpu"], second["busy"], second["memory_total"]) == (5, 0.0, 81559.0)
    assert (tmp_path / "asked").read_text() == "--id=2,5\n"


def test_a_process_without_gpus_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tool(tmp_path, f"touch {tmp_path}/asked", monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with gpu_use_told(EventLog(tmp_path / "events.jsonl"), interval_s=0.01):
        time.sleep(0.1)
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("script", ["exit 9", "echo '0, [N/A], 5, 6'"])
def test_a_driver_that_cannot_say_is_no_error(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _tool(tmp_path, f"touch {tmp_path}/asked; {script}", monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with gpu_use_told(EventLog(tmp_path / "events.jsonl"), interval_s=0.01):
        deadline = time.monotonic() + 10
        while not (tmp_path / "asked").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert (tmp_path / "asked").exists()
    assert read_events(tmp_path / "events.jsonl") == []
