"""Extraction in a process of its own: a page that hangs or crashes the extractor costs itself alone.

No signal handler runs while C code does, so the child is ended by the kernel: by the default action of its own timers,
and by its limit of memory. That leaves nothing behind when its parent is killed either.
"""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import IO, Self, cast

from ulmfit_dist.crawl.extract import ExtractorName, extract_text, main_content

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class ExtractorLimits:
    """What a page may take: seconds of CPU, so that a busy machine loses nothing; of wall time; and bytes of memory."""

    cpu_s: float = 10.0
    wall_s: float = 60.0
    memory_bytes: int = 2 << 30


class Extractor:
    """A child that extracts pages one after the other; started when it is needed, and again after one that ended it.

    Raises InputError where the package of the extractor `name` cannot be loaded.
    """

    def __init__(self, limits: ExtractorLimits | None = None, name: ExtractorName = "resiliparse") -> None:
        main_content(name)
        self._limits, self._name = limits or ExtractorLimits(), name
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def text(self, html: str) -> str | None:
        """Return what `extract_text` gives for a page without lone surrogates; None when the child did not survive."""
        child = self._child = self._child or _started(self._limits, self._name)
        assert child.stdin is not None, "asked for at its start"
        assert child.stdout is not None, "asked for at its start"
        try:
            _write(child.stdin, html.encode())
            found = _read(child.stdout)
        except BrokenPipeError:
            found = None
        if found is None:
            self.close()
            return None
        return found.decode()

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _started(limits: ExtractorLimits, name: ExtractorName) -> subprocess.Popen[bytes]:
    values = [name, str(limits.cpu_s), str(limits.wall_s), str(limits.memory_bytes)]
    # What a parent found by its own path, as an actor does, the child must find too.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # A session of its own: a signal from the terminal is for the parent, which ends its child.
    return subprocess.Popen(  # noqa: S603 - this interpreter, this module
        [sys.executable, "-m", "ulmfit_dist.crawl.extractor", *values],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


def _serve(name: ExtractorName, limits: ExtractorLimits, source: IO[bytes], target: IO[bytes]) -> None:
    main_content(name)  # loaded before a page's time runs
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (page := _read(source)) is not None:
        _set_timers(limits.cpu_s, limits.wall_s)
        text = extract_text(page.decode(), name).encode()
        _set_timers(0.0, 0.0)
        _write(target, text)


def _set_timers(cpu_s: float, wall_s: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)


def _write(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes | None:
    """The next message; None where the other side has ended."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = pipe.read(length)
    return data if len(data) == length else None


def _main(name: str, cpu_s: str, wall_s: str, memory_bytes: str) -> None:
    limits = ExtractorLimits(float(cpu_s), float(wall_s), int(memory_bytes))
    _serve(cast("ExtractorName", name), limits, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    _main(*sys.argv[1:])
