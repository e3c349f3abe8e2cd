"""Quarantine: records that cannot be read are set aside by name, counted, and fail the stage past a share."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from ulmfit_dist.errors import DataError
from ulmfit_dist.files import atomic_path

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

QUARANTINE_NAME = "quarantine.jsonl"
DEFAULT_SHARE = 0.01
_SAMPLE_CHARACTERS = 200
_SHOWN_CHARACTERS = 60


class Tally:
    """Counts the records that cannot be read, and keeps the first: enough for a check before work starts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.by_source: Counter[str] = Counter()
        self.lost_bytes: Counter[str] = Counter()
        self.first = ""

    def add(self, source: str, position: str, reason: str, sample: str = "") -> None:
        """Set a record aside. `sample`: the start of it, cut and escaped here; broken bytes may be surrogates."""
        self.counts[reason] += 1
        self.by_source[source] += 1
        self.first = self.first or f"{source}, {position}: {reason} {sample[:_SHOWN_CHARACTERS]!a}"

    def lose(self, source: str, size: int) -> None:
        """Count bytes (as they lie on disk) that could not be read, of which nobody knows how many records they are."""
        self.lost_bytes[source] += max(0, size)

    @property
    def total(self) -> int:
        """How many records are set aside."""
        return self.counts.total()


class Quarantine(Tally):
    """The quarantine of one stage: a JSON object {source, position, reason, sample} a line, in order of finding.

    Use as a context manager; the file is put in place when it closes, also after an error, since it explains the error.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def __enter__(self) -> Self:
        self._handle = atomic_path(self._path)
        self._file = self._handle.__enter__().open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._handle.__exit__(None, None, None)

    def add(self, source: str, position: str, reason: str, sample: str = "") -> None:
        """Set a record aside and write it down."""
        super().add(source, position, reason, sample)
        sample = sample[:_SAMPLE_CHARACTERS]
        self.write({"source": source, "position": position, "reason": reason, "sample": sample})

    def write(self, record: dict[str, Any]) -> None:
        """Append a record as it is; it is not counted."""
        # ASCII output writes a lone surrogate as \udcff: what was broken stays visible and the file stays valid.
        self._file.write(json.dumps(record).encode() + b"\n")

    def check_share(self, limit: float = DEFAULT_SHARE, total: int = 0) -> None:
        """Raise DataError when more than `limit` (0..1) of `total` records, the bad ones included, are set aside."""
        if self.total <= limit * total:
            return
        raise self._too_much(f"{limit:.2%} of the records", f"{self.total} of {total}")

    def check_lost(self, limit: float, total: int) -> None:
        """Raise DataError when more than `limit` (0..1) of `total` bytes were lost: a cut file is but one record."""
        lost = self.lost_bytes.total()
        if lost > limit * total:
            raise self._too_much(f"{limit:.2%} of the bytes", f"{lost:,} of {total:,} bytes")

    def _too_much(self, what: str, found: str) -> DataError:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.counts.items()))
        return DataError(
            f"more than {what} cannot be read",
            found=f"{found}: {reasons}; each is named in {self._path}",
            do="mend the source, or raise quarantine_share to accept the loss",
        )
