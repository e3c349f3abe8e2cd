"""Sealed JSON: a manifest that holds the digest of its own content, so that damage shows when it is opened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ulmfit_dist.errors import DigestError, InputError
from ulmfit_dist.files import digest_file, fingerprint, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

DAMAGED = " is damaged or is another file"
_SEAL = "digest"


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write `value` atomically with a last key `digest`: xxh3_128 of its canonical JSON."""
    write_bytes(path, _as_bytes({**value, _SEAL: fingerprint(value)}))


def read_sealed(path: Path, what: str) -> dict[str, Any]:
    """Read a sealed file; `what` names its folder's kind in messages.

    Raises InputError when there is no such file, DigestError when its content is not what it was sealed with.
    """
    try:
        data = path.read_bytes()
        value = json.loads(data)
    except FileNotFoundError as error:
        found = "no such folder" if not path.parent.is_dir() else f"a folder without {path.name}"
        raise InputError(f"{path.parent} is not {what}", found=found, do="check the path") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(value, dict):
        raise damaged(path, f"a JSON {type(value).__name__}, expected a table")
    _check_seal(path, value, data)
    return value


def check_format(path: Path, found: object, expected: int) -> None:
    """Raise InputError when a manifest was written in another format version."""
    if found != expected:
        do = "make it again with this version of ulmfit_dist"
        raise InputError(f"{path} has another format version", found=f"{found}, expected {expected}", do=do)


def compare_file(path: Path, size: int, digest: str) -> DigestError | None:
    """Re-hash a whole file; the error to report when it is missing or differs, else None."""
    if not path.is_file():
        return damaged(path, "no file")
    found_size = path.stat().st_size
    if found_size != size:
        return damaged(path, f"{found_size} bytes, expected {size}")
    found = digest_file(path)
    return None if found == digest else damaged(path, f"digest {found}, expected {digest}")


def damaged(path: Path, found: str) -> DigestError:
    """Return the error for a file that is not what was written, with the repair."""
    return DigestError(f"{path}{DAMAGED}", found=found, do=repair(path.parent))


def repair(folder: Path) -> str:
    """Return what to do about a damaged file of this folder."""
    return f"delete {folder} and run the command that made it again"


def _check_seal(path: Path, value: dict[str, Any], data: bytes) -> None:
    # Byte for byte, for some flipped bits leave the values as they are: 1e-05 and 1E-05, the 17th digit of a float.
    try:
        rewritten = _as_bytes(value)
    except (ValueError, UnicodeEncodeError):
        rewritten = b""
    sealed = value.pop(_SEAL, "no digest")
    if rewritten != data:
        raise damaged(path, "not the JSON that was written")
    found = fingerprint(value)
    if found != sealed:
        raise damaged(path, f"digest {found}, expected {sealed}")


def _as_bytes(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
