"""Atomic writes: whole or not at all; digests: equal content, equal digest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import xxhash

from ulmfit_dist.files import (
    atomic_path,
    canonical_json,
    digest_file,
    fingerprint,
    read_json,
    sweep_temporaries,
    write_bytes,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_killed_writer_leaves_only_what_the_sweep_removes(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal\n"
        "from ulmfit_dist.files import atomic_path\n"
        f"with atomic_path(pathlib.Path({str(tmp_path / 'file')!r})) as t:\n"
        "    t.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert not (tmp_path / "file").exists()
    assert len(list(tmp_path.iterdir())) == 1
    assert len(sweep_temporaries(tmp_path)) == 1
    assert not list(tmp_path.iterdir())


def test_digest_is_xxh3_128_of_the_content(tmp_path: Path) -> None:
    data = os.urandom(9_000_000)  # more than two blocks
    write_bytes(tmp_path / "a", data)
    assert digest_file(tmp_path / "a") == xxhash.xxh3_128(data).hexdigest()


def test_canonical_json_does_not_depend_on_key_order() -> None:
    assert canonical_json({"b": 1, "a": [1.5, "é"]}) == b'{"a":[1.5,"\xc3\xa9"],"b":1}'
    assert fingerprint({"x": 1, "y": 2}) == fingerprint({"y": 2, "x": 1})
    assert fingerprint({"x": 1}) != fingerprint({"x": 2})


def test_json_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()
    write_json(tmp_path / "a.json", {"loss": 1.0})
    assert read_json(tmp_path / "a.json") == {"loss": 1.0}
