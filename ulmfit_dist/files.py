"""Durable files: atomic writes and digests.

A file is written under a temporary name, fsynced and renamed, and its folder is fsynced: a reader sees the whole file
or none of it, whatever is killed. The digest is xxh3_128 (7 GB/s a core against 1.3 for sha256: it guards against
damage, not against an attacker).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from ulmfit_dist.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY_MARK = ".tmp-"
_BLOCK = 1 << 22
_STORAGE_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


def digest_bytes(data: bytes | memoryview) -> str:
    """xxh3_128 of the bytes, 32 hex digits."""
    return str(xxhash.xxh3_128_hexdigest(data))


def digest_file(path: Path) -> str:
    """xxh3_128 of the file's content, 32 hex digits."""
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return str(state.hexdigest())


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def fingerprint(value: Any) -> str:
    """xxh3_128 of the canonical JSON, 32 hex digits."""
    return digest_bytes(canonical_json(value))


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends without error it is fsynced and renamed to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}{TEMPORARY_MARK}{socket.gethostname()}-{os.getpid()}")
    try:
        yield temporary
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write the whole file atomically."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        # `write` does not say which file found no room.
        error.filename = error.filename or str(path)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_bytes())


def sweep_temporaries(folder: Path) -> list[Path]:
    """Delete the temporary files that killed writers left below `folder`; return what was deleted."""
    swept = [path for path in folder.rglob(f"*{TEMPORARY_MARK}*") if path.is_file()]
    for path in swept:
        path.unlink(missing_ok=True)
    return swept


def storage_error(error: OSError) -> DataError | None:
    """Return what to tell of a full disk, a quota or missing rights; None for an OSError that is none of these."""
    if error.errno not in _STORAGE_ERRNO:
        return None
    return DataError(
        f"cannot write {error.filename or 'an output'}",
        found=error.strerror or str(error),
        do="free space or mend the rights, then run the same command: finished work is kept",
    )


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
