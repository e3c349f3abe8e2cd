"""Requests to the running training: flags that a signal handler or a thread sets and the loops read between steps."""

from __future__ import annotations


class StopFlag:
    """A plain attribute: a signal handler may interrupt anything, so it must not take a lock."""

    def __init__(self) -> None:
        self.requested = False
        self._save = False

    def request(self) -> None:
        """Ask the running loop to checkpoint and raise StoppedError; the ranks agree on the step themselves."""
        self.requested = True

    def request_save(self) -> None:
        """Ask the running loop to checkpoint and go on: something that may end it is near."""
        self._save = True

    def take_save(self) -> bool:
        """Return whether a checkpoint was asked for, once."""
        asked, self._save = self._save, False
        return asked

    def clear(self) -> None:
        """Take the requests back, for the next run in this process."""
        self.requested = self._save = False


# Signals belong to the process, and so does the request.
STOP = StopFlag()
