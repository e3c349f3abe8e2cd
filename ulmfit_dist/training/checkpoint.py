"""Checkpoints: a folder of numbered states, each complete when its manifest has been renamed into place.

    checkpoints/step-000000120/state.safetensors   tensors
                               state.json          everything else
                               manifest.json       bytes and xxh3_128 of both; written last

The newest whole one is read; a damaged one is reported and the one before it is used. No pickle: safetensors and JSON.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a state whole, then drop all but the newest `keep`."""
        target = self._path(step)
        _remove(target)
        target.mkdir(parents=True)
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        # Through memory: safetensors' own writer reports a full disk as an error of its own, without errno.
        write_bytes(target / TENSORS_NAME, save(plain))
        write_json(target / STATE_NAME, dict(state))
        files = {name: _description(target / name) for name in (TENSORS_NAME, STATE_NAME)}
        write_json(target / MANIFEST_NAME, {"format": FORMAT, "step": step, "files": files})
        for old in self._complete()[: -self._keep]:
            _remove(old)

    def latest(self) -> Checkpoint | None:
        """Return the newest state whose digests hold, or None; sweep what a kill left half written or half removed."""
        complete = self._complete()
        for path in self.folder.glob(_PATTERN):
            if path not in complete:
                _remove(path)
        if self.folder.is_dir():
            sweep_temporaries(self.folder)
        for path in reversed(complete):
            damage = _damage(path)
            if damage is None:
                return self.load(int(path.name.removeprefix("step-")))
            self._reporter.event("checkpoint_damaged", path=str(path), found=damage, action="the one before is used")
        return None

    def load(self, step: int) -> Checkpoint:
        """Read the state of a step without checking it: for the ranks that rank 0 told which one is whole."""
        path = self._path(step)
        # Copies: a tensor that a file backs is not aligned as torch's own are, and CPU products round by alignment.
        tensors = {name: tensor.clone() for name, tensor in load_file(path / TENSORS_NAME).items()}
        return Checkpoint(step, tensors, read_json(path / STATE_NAME))

    def clear(self) -> None:
        """Remove every state: the work they protected is done and written elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"

    def _complete(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(_PATTERN) if (path / MANIFEST_NAME).is_file())


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
