"""Opening files that may be compressed: gzip, bzip2, xz and zstd by their first bytes, never by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO, Self, cast

import pyarrow as pa

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

GZIP_MAGIC = b"\x1f\x8b"
COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
# What reading a cut or damaged file raises, over the four formats.
DAMAGED_STREAM = (EOFError, OSError, zlib.error, lzma.LZMAError)
_MAGIC_BYTES = 6


class OpenedFile:
    """A file opened for reading its decompressed bytes: `stream`; `bytes_read` counts the bytes on disk, for progress.

    A context manager. Reading `stream` raises one of DAMAGED_STREAM when the file is cut or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        magic = self._raw.read(_MAGIC_BYTES)
        self._raw.seek(0)
        self.stream = _decompressed(self._raw, magic)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()
        self._raw.close()

    @property
    def bytes_read(self) -> int:
        """Position in the file as it lies on disk."""
        return 0 if self._raw.closed else self._raw.tell()


def _decompressed(raw: io.BufferedReader, magic: bytes) -> BinaryIO:
    if magic.startswith(GZIP_MAGIC):
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw, mode="rb"))
    if magic.startswith(b"BZh"):
        return cast("BinaryIO", bz2.BZ2File(raw))
    if magic.startswith(b"\xfd7zXZ\0"):
        return cast("BinaryIO", lzma.LZMAFile(raw))
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        # Python has no zstd before 3.14; Arrow brings it.
        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"))
    return raw
