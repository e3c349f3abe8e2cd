"""Opening files that may be compressed: gzip, bzip2, xz and zstd by their first bytes, never by name.

A file, or a range of one: the members of a gzip or bzip2 file that begin in the range, one after the other.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self, cast

import pyarrow as pa

from ulmfit_dist.corpus.locations import open_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from _typeshed import WriteableBuffer

    from ulmfit_dist.corpus.locations import Location

GZIP_MAGIC = b"\x1f\x8b"
BZ2_MAGIC = b"BZh"
XZ_MAGIC = b"\xfd7zXZ\0"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
# What reading a cut or damaged file raises, over the four formats.
DAMAGED_STREAM = (EOFError, OSError, zlib.error, lzma.LZMAError)
_MAGIC_BYTES = 6
_BLOCK = 1 << 17


class OpenedFile:
    """A file, or its bytes from `start` to `stop`, opened for reading what is compressed in them: `stream`.

    The stream goes on past `stop`, so that a record which begins before it can be read to its end; `boundary` says
    where in the stream `stop` was. In a compressed file both are beginnings of members (gzip) or streams (bzip2).
    A context manager. Reading raises one of DAMAGED_STREAM when the file is cut or damaged; what was read stands.
    """

    def __init__(self, location: Location, start: int = 0, stop: int | None = None) -> None:
        self.start, self._stop = start, stop
        self._raw = _Counted(open_at(location, start))
        self._members: _Members | None = None
        self.stream = self._decompressed(self._raw.peek(_MAGIC_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()
        self._raw.close()

    @property
    def bytes_read(self) -> int:
        """Bytes of the range read so far, as they lie on disk; blocks are read ahead."""
        return self._raw.count if self._stop is None else min(self._raw.count, self._stop - self.start)

    @property
    def boundary(self) -> int | None:
        """Position in the stream where the range ends; None as long as the stream is within it."""
        if self._members is not None:
            return self._members.boundary
        return None if self._stop is None else self._stop - self.start

    def blocks(self) -> Iterator[bytes]:
        """Yield the decompressed bytes of the range, none beyond it."""
        position = 0
        while block := self.stream.read1(_BLOCK):
            if self.boundary is not None and position + len(block) > self.boundary:
                yield block[: self.boundary - position]
                return
            position += len(block)
            yield block

    def _decompressed(self, magic: bytes) -> io.BufferedReader:
        if magic.startswith(ZSTD_MAGIC):
            # Python has no zstd before 3.14; Arrow brings it.
            source = pa.PythonFile(self._raw, "r")
            return io.BufferedReader(_Arrow(pa.CompressedInputStream(source, "zstd")), _BLOCK)
        for mark, make in _MEMBERS.items():
            if magic.startswith(mark):
                stop = None if self._stop is None else self._stop - self.start
                self._members = _Members(self._raw, make, stop)
                return io.BufferedReader(self._members, _BLOCK)
        return io.BufferedReader(cast("io.RawIOBase", self._raw), _BLOCK)


class _Counted(io.RawIOBase):
    """A binary file that counts what is read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._ahead, self.count = file, b"", 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        data = self._ahead[: len(view)] or self._file.read(len(view))
        self._ahead = self._ahead[len(data) :]
        self.count += len(data)
        view[: len(data)] = data
        return len(data)

    def peek(self, size: int) -> bytes:
        """The first bytes, which will be read again."""
        self._ahead = self._file.read(size)
        return self._ahead

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _Decompressor(Protocol):
    """What bz2 and lzma give, and _Inflater makes of zlib."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Inflater:
    """One gzip member, header and checksum included, with the interface of bz2's decompressor."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(31)
        self._rest = b""

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._rest and not self.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        out = self._inflate.decompress(self._rest + data, max_length)
        self._rest = self._inflate.unconsumed_tail
        return out


_MEMBERS: dict[bytes, Callable[[], _Decompressor]] = {
    GZIP_MAGIC: _Inflater,
    BZ2_MAGIC: bz2.BZ2Decompressor,
    XZ_MAGIC: lzma.LZMADecompressor,
}


class _Members(io.RawIOBase):
    """The decompressed members of a file in order; bounded memory, whatever a member inflates to.

    `boundary`: decompressed bytes before the first member that begins at `stop` (counted from where reading began) or
    later. Raises EOFError when the last member has no end, which gzip's own reader does too but other readers do not.
    """

    def __init__(self, raw: _Counted, make: Callable[[], _Decompressor], stop: int | None) -> None:
        self._raw, self._make, self._stop = raw, make, stop
        self._member: _Decompressor | None = None
        self._input = b""
        self._position = 0
        self.boundary: int | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        while self._member is not None or self._next_member():
            assert self._member is not None
            cut = self._member.needs_input and not self._input and not self._fill()
            data, self._input = self._member.decompress(self._input, len(view)), b""
            if self._member.eof:
                self._input, self._member = self._member.unused_data, None
            elif cut and not data:
                msg = "the compressed data end before their end mark"
                raise EOFError(msg)
            if data:
                view[: len(data)] = data
                self._position += len(data)
                return len(data)
        return 0

    def _next_member(self) -> bool:
        """Begin the next member; zeros between members are padding."""
        while not (stripped := self._input.lstrip(b"\0")):
            if not self._fill():
                return False
        self._input = stripped
        if self._stop is not None and self.boundary is None and self._raw.count - len(self._input) >= self._stop:
            self.boundary = self._position
        self._member = self._make()
        return True

    def _fill(self) -> bool:
        self._input = self._raw.read(_BLOCK) or b""
        return bool(self._input)


class _Arrow(io.RawIOBase):
    """Arrow's stream as one that io.BufferedReader takes; a cut zstd file is Arrow's OSError."""

    def __init__(self, stream: pa.CompressedInputStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)
