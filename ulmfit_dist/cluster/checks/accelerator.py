"""Checks of torch, the GPUs, their driver and the links between them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import torch

from ulmfit_dist.cluster.checks.allreduce import between_processes
from ulmfit_dist.cluster.checks.finding import Finding, Level

_TOOL = "nvidia-smi"
_ANSWER_S = 60.0
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
# Where two GPUs reach each other only through the processor: a tenth of a link's bandwidth and less.
_SLOW_LINKS = frozenset({"SYS", "NODE", "PHB"})


def accelerators() -> list[Finding]:
    """Check torch, then whether it can use the GPUs that the driver sees; with two or more their links and NCCL."""
    findings = [Finding("torch", f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}")]
    tool = shutil.which(_TOOL)
    if tool is None and not torch.cuda.is_available():
        return [*findings, Finding("GPU", f"none here: everything runs on {os.cpu_count()} CPUs")]
    findings.append(_usable(_driver(tool)) if tool else _computes())
    if findings[-1].good and torch.cuda.device_count() > 1:
        findings += [links(_ask(tool, "topo", "-m"))] if tool else []
        findings.append(between_processes("nccl", torch.cuda.device_count()))
    return findings


def links(matrix: str) -> Finding:
    """Judge the matrix that `nvidia-smi topo -m` prints: how each GPU reaches each other one."""
    rows = [line.split() for line in _ESCAPES.sub("", matrix).splitlines() if re.match(r"\s*GPU\d+\s.*\bX\b", line)]
    names = [row[0] for row in rows]
    found = {row[1 + place] for row in rows for place, name in enumerate(names) if name != row[0]}
    if not found:
        return Finding("GPU links", "not told by nvidia-smi", Level.WARNING, "look at: nvidia-smi topo -m")
    level = Level.WARNING if found & _SLOW_LINKS else Level.GOOD
    do = "give one training the GPUs that share a switch or NVLink (CUDA_VISIBLE_DEVICES)"
    return Finding("GPU links", f"{', '.join(sorted(found))} between {len(names)} GPUs", level, do)


def _driver(tool: str) -> str | Finding:
    """Return the driver's version, or what it says instead."""
    answer = subprocess.run(  # noqa: S603 - the driver's own tool
        [tool, "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=_ANSWER_S,
        check=False,
    )
    lines = (answer.stdout + answer.stderr).strip().splitlines()
    if answer.returncode or not lines:
        why = lines[0] if lines else f"exit {answer.returncode}"
        return Finding("GPU", f"{_TOOL}: {why}", Level.BLOCKS, "load the driver's kernel module, or install the driver")
    return f"driver {lines[0]}, {len(lines)} GPUs"


def _usable(driver: str | Finding) -> Finding:
    if isinstance(driver, Finding):
        return driver
    if torch.version.cuda is None:
        found = f"{driver}, but this torch is built without CUDA"
        return Finding("GPU", found, Level.BLOCKS, f"install torch {torch.__version__.partition('+')[0]} with CUDA")
    if not torch.cuda.is_available():
        found = f"{driver}, which torch's CUDA {torch.version.cuda} cannot use"
        return Finding("GPU", found, Level.BLOCKS, "install a newer driver, or a torch for an older CUDA")
    return _computes(driver)


def _computes(driver: str = "") -> Finding:
    devices = range(torch.cuda.device_count())
    wrong = [i for i in devices if torch.ones(4, device=f"cuda:{i}").sum().item() != 4.0]
    names = ", ".join(sorted({torch.cuda.get_device_name(i) for i in devices}))
    found = f"{driver}: {len(devices)} x {names}".removeprefix(": ")
    if wrong:
        return Finding("GPU", f"{found}; wrong sums on {wrong}", Level.BLOCKS, "take these GPUs out of service")
    return Finding("GPU", found)


def _ask(tool: str, *arguments: str) -> str:
    command = [tool, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False).stdout  # noqa: S603
