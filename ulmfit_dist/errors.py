"""The error tree, one exit code a branch (DESIGN section 4).

    UlmfitError            1   failed after work had started
    ├── InputError         2   bad input, found before any work starts
    │   └── RecipeError    2   the recipe or a setting is wrong
    ├── DataError          1   bad data found while working
    │   └── DigestError    1   a file is not what its manifest says
    ├── PartialError       3   some branches of a run failed, the others are done
    ├── LockedError        4   the run directory belongs to another live run
    ├── JobLostError       5   a submitted job and its cluster are out of reach
    └── StoppedError       6   stopped by request; the state continues
        └── SignalledError 128 + the signal's number

Every message says what was wrong, what was found and what to do. Only cli turns an error into an exit.
"""

from __future__ import annotations

import signal


class UlmfitError(Exception):
    """What went wrong, what was found, what to do: three clauses, one message."""

    exit_code = 1

    def __init__(self, what: str, *, found: str = "", do: str = "") -> None:
        self.what, self.found, self.do = what, found, do
        super().__init__(what)

    def __str__(self) -> str:
        parts = [self.what, f"found: {self.found}" if self.found else "", f"do: {self.do}" if self.do else ""]
        return "; ".join(part for part in parts if part)

    def __reduce__(self) -> tuple[object, ...]:
        # Ray carries errors between processes by pickle; keyword-only fields need saying.
        return (_rebuild, (type(self), self.what, self.found, self.do))


def _rebuild(kind: type[UlmfitError], what: str, found: str, do: str) -> UlmfitError:
    return kind(what, found=found, do=do)


class InputError(UlmfitError):
    """Bad input found from arguments, recipe, schema or the first rows, before any work starts."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe or setting that the schema refuses."""


class DataError(UlmfitError):
    """Bad data met while a stage was working."""


class DigestError(DataError):
    """A file differs from the digest its manifest holds."""


class PartialError(UlmfitError):
    """Some branches of a run failed; independent ones finished."""

    exit_code = 3


class LockedError(UlmfitError):
    """The run directory is owned by another live run."""

    exit_code = 4


class JobLostError(UlmfitError):
    """A submitted job is gone, or its cluster cannot be reached: nobody knows how it ended."""

    exit_code = 5


class StoppedError(UlmfitError):
    """Stopped by request; the same command continues."""

    exit_code = 6


class SignalledError(StoppedError):
    """Stopped by a signal: the exit code is the shell's, 128 + its number (130 for SIGINT, 143 for SIGTERM)."""

    def __init__(self, signal_number: int, *, do: str) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name}", do=do)
        self.exit_code = 128 + signal_number
