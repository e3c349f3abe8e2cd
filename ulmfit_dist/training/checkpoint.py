"""Checkpoints: a folder of numbered states, each complete when its manifest has been renamed into place.

    checkpoints/step-000000120/state.safetensors   tensors
                               state.json          everything else
                               manifest.json       bytes and xxh3_128 of both; written last

The newest whole one is read; a damaged one is reported and the one before it is used. No pickle: safetensors and JSON.
A thread writes: the training waits for a copy of the state where it lies (of a GPU's in its own memory), and goes on
while that is brought to the host, digests are computed and the disk is waited for (44 M weights with Adam's moments:
0.5 GB).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ulmfit_dist.events import Reporter, Silent
from ulmfit_dist.files import digest_file, read_json, sweep_temporaries, write_bytes, write_json

FORMAT = 1
MANIFEST_NAME = "manifest.json"
STATE_NAME = "state.json"
TENSORS_NAME = "state.safetensors"
_PATTERN = "step-*"


@dataclass(frozen=True)
class Checkpoint:
    """One saved state."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class CheckpointFolder:
    """Saves states and finds the newest whole one. Only rank 0 saves and sweeps; any rank may load."""

    def __init__(self, folder: Path, keep: int = 2, reporter: Reporter | None = None) -> None:
        self.folder, self._keep, self._reporter = folder, keep, reporter or Silent()
        # Python joins this thread before it exits: a state that was handed over is written, whoever raised meanwhile.
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._under_way: Future[None] | None = None

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Begin to write a state, and return when what was given may change again.

        Two are never written at once: this waits for the one before, and raises what went wrong with it. A GPU's
        tensors are copied in the order of its stream, so that later work on them waits there and not here. To pinned
        memory of the host instead, the first copies took 0.6 and 0.5 s on an H100: pinning is slow.
        """
        self.wait()
        copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        devices = {tensor.device for tensor in tensors.values() if tensor.is_cuda}
        copied = [torch.cuda.current_stream(device).record_event() for device in devices]
        text = json.dumps(dict(state), ensure_ascii=False, allow_nan=False).encode()
        self._under_way = self._writer.submit(self._write, step, copies, copied, text)

    def wait(self) -> None:
        """Return when nothing is being written; raise what went wrong with the last save."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def latest(self) -> Checkpoint | None:
        """Return the newest state whose digests hold, or None; sweep what a kill left half written or half removed."""
        self.wait()
        complete = self._complete()
        for path in self.folder.glob(_PATTERN):
            if path not in complete:
                _remove(path)
        if self.folder.is_dir():
            sweep_temporaries(self.folder)
        for path in reversed(complete):
            damage = _damage(path)
            if damage is None:
                return self.load(_step_of(path))
            self._reporter.event("checkpoint_damaged", path=str(path), found=damage, action="the one before is used")
        return None

    def newest_step(self) -> int:
        """Return the step of the newest state, whole or damaged; -1 without any. Reads no state, sweeps nothing."""
        complete = self._complete()
        return _step_of(complete[-1]) if complete else -1

    def load(self, step: int) -> Checkpoint:
        """Read the state of a step without checking it: for the ranks that rank 0 told which one is whole."""
        path = self._path(step)
        # Copies: a tensor that a file backs is not aligned as torch's own are, and CPU products round by alignment.
        tensors = {name: tensor.clone() for name, tensor in load_file(path / TENSORS_NAME).items()}
        return Checkpoint(step, tensors, read_json(path / STATE_NAME))

    def clear(self) -> None:
        """Remove every state: the work they protected is done and written elsewhere."""
        self.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, step: int, tensors: dict[str, Tensor], copied: list[torch.cuda.Event], state: bytes) -> None:
        """Write a state whole, then drop all but the newest `keep`."""
        for event in copied:
            event.synchronize()
        tensors = {name: _to_host(tensor) for name, tensor in tensors.items()}
        target = self._path(step)
        _remove(target)
        target.mkdir(parents=True)
        # Through memory: safetensors' own writer reports a full disk as an error of its own, without errno.
        write_bytes(target / TENSORS_NAME, save(tensors))
        write_bytes(target / STATE_NAME, state)
        files = {name: _description(target / name) for name in (TENSORS_NAME, STATE_NAME)}
        write_json(target / MANIFEST_NAME, {"format": FORMAT, "step": step, "files": files})
        for old in self._complete()[: -self._keep]:
            _remove(old)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"

    def _complete(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(_PATTERN) if (path / MANIFEST_NAME).is_file())


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _to_host(tensor: Tensor) -> Tensor:
    """The tensor in host memory, by a stream of its own: on the training's, its next step would wait for the copy."""
    if not tensor.is_cuda:
        return tensor
    with torch.cuda.stream(torch.cuda.Stream(tensor.device)):  # type: ignore[no-untyped-call]
        return tensor.cpu()


def _description(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "xxh3_128": digest_file(path)}


def _damage(path: Path) -> str | None:
    try:
        manifest = read_json(path / MANIFEST_NAME)
        if manifest["format"] != FORMAT:
            return f"format {manifest['format']}"
        for name, expected in manifest["files"].items():
            found = _description(path / name)
            if found != expected:
                return f"{name}: {found}, expected {expected}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _remove(path: Path) -> None:
    # The manifest first: a removal cut short must not leave something that looks complete.
    (path / MANIFEST_NAME).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
