"""Spooled writing: direct on a local disk, by way of TMPDIR where the place is on a network file system."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ulmfit_dist.cluster import spool
from ulmfit_dist.cluster.spool import spooled, sweep_dead
from ulmfit_dist.files import write_bytes

SHARED_MEMORY = Path("/dev/shm")
MOUNT = "{number} 1 {major}:{minor} / {path} rw,relatime shared:1 - {kind} source rw\n"


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TMPDIR of its own."""
    folder = tmp_path / "local"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    spool._sweep_once.cache_clear()
    return folder


@pytest.fixture
def remote(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on another device, which the list of mounts calls a network file system."""
    if not SHARED_MEMORY.is_dir() or SHARED_MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    _mounts(tmp_path, monkeypatch, "nfs4")
    folder = Path(tempfile.mkdtemp(dir=SHARED_MEMORY))
    request = folder / "stream"
    yield request
    shutil.rmtree(folder)


def _mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    lines = ""
    for number, (path, of_kind) in enumerate(((SHARED_MEMORY, kind), (tmp_path, "ext4"))):
        device = path.stat().st_dev
        lines += MOUNT.format(number=number, major=os.major(device), minor=os.minor(device), path=path, kind=of_kind)
    (tmp_path / "mountinfo").write_text(lines)
    monkeypatch.setattr(spool, "_MOUNTS", tmp_path / "mountinfo")


def test_beside_the_temporary_folder_a_file_is_written_at_its_place(local: Path, tmp_path: Path) -> None:
    with spooled(tmp_path / "out" / "shard.h5") as place:
        assert place == tmp_path / "out" / "shard.h5"
        write_bytes(place, b"tokens")
    assert not list(local.iterdir())


@pytest.mark.parametrize("kind", ["tmpfs", "xfs", "overlay", "fuse.fuse-overlayfs"])
def test_on_another_local_disk_too(
    kind: str, remote: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _mounts(tmp_path, monkeypatch, kind)
    with spooled(remote / "shard.h5") as place:
        assert place == remote / "shard.h5"


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "fuse.s3fs"])
def test_on_a_network_file_system_it_is_written_locally_and_moved(
    kind: str, remote: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _mounts(tmp_path, monkeypatch, kind)
    with spooled(remote / "shard.h5") as place:
        assert place.name == "shard.h5"
        assert place.parent.parent == local
        write_bytes(place, b"tokens")
        assert not list(remote.iterdir())
    assert {path.name: path.read_bytes() for path in remote.iterdir()} == {"shard.h5": b"tokens"}
    assert not list(local.iterdir())


def test_an_error_leaves_nothing_behind(remote: Path, local: Path) -> None:
    def fail() -> None:
        with spooled(remote / "shard.h5") as place:
            write_bytes(place, b"tok")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail()
    assert not list(remote.iterdir())
    assert not list(local.iterdir())


def test_a_full_disk_at_the_place_names_the_place(remote: Path, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, _: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))

    monkeypatch.setattr(shutil, "copyfile", full)

    def write() -> None:
        with spooled(remote / "shard.h5") as place:
            write_bytes(place, b"tokens")

    with pytest.raises(OSError, match="No space left") as error:
        write()
    assert error.value.filename.startswith(str(remote / "shard.h5"))
    assert not list(remote.iterdir())


def test_what_a_killed_process_left_is_swept_by_the_next(remote: Path, local: Path) -> None:
    script = (
        "import os, signal, sys, tempfile; from pathlib import Path; from ulmfit_dist.cluster import spool;"
        "spool._MOUNTS = Path(sys.argv[2]); c = spool.spooled(Path(sys.argv[1])); p = c.__enter__();"
        "p.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    mounts = str(local.parent / "mountinfo")
    environment = {**os.environ, "TMPDIR": str(local)}
    subprocess.run([sys.executable, "-c", script, str(remote / "shard.h5"), mounts], check=False, env=environment)
    assert [path.read_bytes() for path in local.rglob("shard.h5")] == [b"half"]
    with spooled(remote / "shard.h5") as place:
        assert list(local.rglob("*")) == [place.parent]
        write_bytes(place, b"whole")
    assert (remote / "shard.h5").read_bytes() == b"whole"


def test_only_folders_of_dead_processes_are_swept(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    names = [f"spool-{dead.pid}-x", f"spool-{os.getpid()}-x", "spool-x-y", f"other-{dead.pid}-x"]
    for name in names:
        (tmp_path / name).mkdir()
    sweep_dead(tmp_path, "spool-")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
