"""Checkpoints: whole or not there; damage is noticed, reported and survived."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ulmfit_dist.events import Silent
from ulmfit_dist.files import write_bytes
from ulmfit_dist.training import checkpoint
from ulmfit_dist.training.checkpoint import CheckpointFolder


class Recorder(Silent):
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, **fields: Any) -> None:
        self.events.append((kind, fields))


def _tensors(step: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((3, 4), float(step)), "count": torch.tensor(step), "half": torch.ones(2).bfloat16()}


def _folder(tmp_path: Path, steps: int = 3) -> tuple[CheckpointFolder, Recorder]:
    recorder = Recorder()
    folder = CheckpointFolder(tmp_path / "checkpoints", reporter=recorder)
    for step in range(1, steps + 1):
        folder.save(step, _tensors(step), {"step": step, "text": "é"})
    folder.wait()
    return folder, recorder


def test_newest_comes_back_as_it_was(tmp_path: Path) -> None:
    folder, recorder = _folder(tmp_path)
    found = folder.latest()
    assert found is not None
    assert (found.step, found.state) == (3, {"step": 3, "text": "é"})
    for name, tensor in _tensors(3).items():
        assert torch.equal(found.tensors[name], tensor)
        assert found.tensors[name].dtype == tensor.dtype
    assert recorder.events == []


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    folder, _ = _folder(tmp_path, 5)
    assert sorted(path.name for path in folder.folder.iterdir()) == ["step-000000004", "step-000000005"]


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path / "nothing").latest() is None


def test_any_flipped_byte_is_noticed_and_the_one_before_is_used(tmp_path: Path) -> None:
    folder, recorder = _folder(tmp_path)
    newest = folder.folder / "step-000000003"
    generator = np.random.default_rng(1)
    for name in ("state.safetensors", "state.json", "manifest.json"):
        path = newest / name
        whole = path.read_bytes()
        for position in generator.integers(0, len(whole), 15):
            data = bytearray(whole)
            data[position] ^= 1 << int(generator.integers(8))
            path.write_bytes(bytes(data))
            recorder.events.clear()
            found = folder.latest()
            assert found is not None
            # A flip inside a manifest's blank or key may leave its meaning; whatever is loaded must be true.
            assert torch.equal(found.tensors["weight"], _tensors(found.step)["weight"])
            if name != "manifest.json":
                assert found.step == 2
                assert recorder.events[0][0] == "checkpoint_damaged"
                assert str(newest) in recorder.events[0][1]["path"]
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_missing_or_cut_file_is_noticed(tmp_path: Path, name: str) -> None:
    folder, recorder = _folder(tmp_path)
    path = folder.folder / "step-000000003" / name
    path.write_bytes(path.read_bytes()[:-1])
    assert folder.latest().step == 2  # type: ignore[union-attr]
    path.unlink()
    assert folder.latest().step == 2  # type: ignore[union-attr]
    assert len(recorder.events) == 2


def test_an_interrupted_one_is_swept(tmp_path: Path) -> None:
    folder, recorder = _folder(tmp_path)
    half = folder.folder / "step-000000004"
    half.mkdir()
    (half / "state.safetensors").write_bytes(b"half")
    (folder.folder / "step-000000003" / "manifest.json.tmp-host-1").write_bytes(b"{")
    assert folder.latest().step == 3  # type: ignore[union-attr]
    assert not half.exists()
    assert not list(folder.folder.rglob("*.tmp-*"))
    assert recorder.events == []


def test_every_damaged_one_means_none(tmp_path: Path) -> None:
    folder, recorder = _folder(tmp_path)
    for path in folder.folder.rglob("state.json"):
        path.write_bytes(b"{}")
    assert folder.latest() is None
    assert len(recorder.events) == 2


def test_a_step_is_saved_again_over_its_damaged_self(tmp_path: Path) -> None:
    folder, _ = _folder(tmp_path)
    (folder.folder / "step-000000003" / "state.json").write_bytes(b"{}")
    folder.save(3, _tensors(3), {"again": True})
    folder.wait()
    assert folder.latest().state == {"again": True}  # type: ignore[union-attr]


def test_equal_states_are_equal_bytes(tmp_path: Path) -> None:
    one, _ = _folder(tmp_path / "one")
    two, _ = _folder(tmp_path / "two")
    for path in sorted(one.folder.rglob("*.*")):
        assert path.read_bytes() == (two.folder / path.relative_to(one.folder)).read_bytes()


def test_loaded_tensors_are_aligned_copies(tmp_path: Path) -> None:
    folder, _ = _folder(tmp_path)
    found = folder.latest()
    assert found is not None
    assert all(tensor.data_ptr() % 64 == 0 for tensor in found.tensors.values())


class Gate:
    """Holds the writing of a checkpoint until it is opened; counts how many are written at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.entered, self.at_once, self.most = threading.Event(), threading.Event(), 0, 0
        self.error: OSError | None = None
        monkeypatch.setattr(checkpoint, "write_bytes", self._write)

    def _write(self, path: Path, data: bytes) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.entered.set()
        assert self.opened.wait(30)
        if self.error is not None:
            raise self.error
        write_bytes(path, data)
        self.at_once -= 1


def test_what_was_given_may_change_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, folder = Gate(monkeypatch), CheckpointFolder(tmp_path)
    tensors, rows = _tensors(1), [1]
    folder.save(1, tensors, {"rows": rows})
    assert gate.entered.wait(30)
    assert not list(tmp_path.rglob("manifest.json"))
    tensors["weight"].zero_()
    rows.append(2)
    gate.opened.set()
    folder.wait()
    found = folder.latest()
    assert found is not None
    assert torch.equal(found.tensors["weight"], _tensors(1)["weight"])
    assert found.state == {"rows": [1]}


def test_a_save_waits_for_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, folder = Gate(monkeypatch), CheckpointFolder(tmp_path, keep=9)
    folder.save(1, _tensors(1), {})
    second = threading.Thread(target=folder.save, args=(2, _tensors(2), {}))
    second.start()
    second.join(0.1)
    assert second.is_alive()
    gate.opened.set()
    second.join(30)
    folder.wait()
    assert gate.most == 1
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000001", "step-000000002"]


@pytest.mark.parametrize("call", ["save", "wait", "clear"])
def test_what_goes_wrong_in_the_thread_is_raised_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    gate, folder = Gate(monkeypatch), CheckpointFolder(tmp_path)
    gate.error = OSError(28, "No space left on device")
    gate.opened.set()
    folder.save(1, _tensors(1), {})
    with pytest.raises(OSError, match="No space"):
        getattr(folder, call)(*((2, _tensors(2), {}) if call == "save" else ()))
    gate.error = None
    # Told once: the next one is tried again.
    folder.save(3, _tensors(3), {})
    folder.wait()
    assert folder.latest().step == 3  # type: ignore[union-attr]


def test_a_state_handed_over_is_written_although_the_process_ends(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from ulmfit_dist.training.checkpoint import CheckpointFolder\n"
        "CheckpointFolder(Path(sys.argv[1])).save(7, {'weight': torch.ones(2_000_000)}, {}); sys.exit(3)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 3
    assert CheckpointFolder(tmp_path).latest().step == 7  # type: ignore[union-attr]


def test_clear_removes_everything(tmp_path: Path) -> None:
    folder, _ = _folder(tmp_path)
    folder.clear()
    assert not folder.folder.exists()
    folder.clear()
