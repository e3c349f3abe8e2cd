"""GPUs as their driver's tool tells of them; the tool is a script of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ulmfit_dist.cluster.checks.accelerator import accelerators, links
from ulmfit_dist.cluster.checks.finding import Finding, Level

NVLINK = """\
\t\x1b[4mGPU0\tGPU1\tNIC0\tCPU Affinity\tNUMA Affinity\x1b[0m
GPU0\t X \tNV18\tPXB\t0-51\t0
GPU1\tNV18\t X \tSYS\t0-51\t0
NIC0\tPXB\tSYS\t X \t\t

Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
"""
SPLIT = NVLINK.replace("NV18", "SYS")


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "nvidia-smi"


def gpu(tool: Path, script: str) -> Finding:
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    (finding,) = [finding for finding in accelerators() if finding.subject == "GPU"]
    return finding


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without GPU")
def test_no_gpu_is_no_fault(tool: Path) -> None:
    assert [finding.good for finding in accelerators()] == [True, True]


def test_a_driver_that_is_not_loaded_blocks(tool: Path) -> None:
    finding = gpu(tool, "echo NVIDIA-SMI has failed because it could not communicate with the driver; exit 9")
    assert finding.level is Level.BLOCKS
    assert "could not communicate" in finding.found


@pytest.mark.skipif(torch.version.cuda is not None, reason="about a torch without CUDA")
def test_gpus_that_this_torch_cannot_use_block(tool: Path) -> None:
    finding = gpu(tool, "echo 575.57.08; echo 575.57.08")
    assert finding.level is Level.BLOCKS
    assert finding.found == "driver 575.57.08, 2 GPUs, but this torch is built without CUDA"
    assert finding.do.startswith("install torch 2.")


def test_a_driver_too_old_for_torchs_cuda_blocks(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    finding = gpu(tool, "echo 470.1")
    assert finding.level is Level.BLOCKS
    assert "CUDA 13.0 cannot use" in finding.found


@pytest.mark.parametrize(
    ("matrix", "level", "found"),
    [
        (NVLINK, Level.GOOD, "NV18 between 2 GPUs"),
        (SPLIT, Level.WARNING, "SYS between 2 GPUs"),
        ("", Level.WARNING, "not told by nvidia-smi"),
    ],
)
def test_links_between_gpus_alone_count(matrix: str, level: Level, found: str) -> None:
    finding = links(matrix)
    assert (finding.level, finding.found) == (level, found)
