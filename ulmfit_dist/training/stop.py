"""The request to stop: a flag that a signal handler sets and the training loops read between steps."""

from __future__ import annotations


class StopFlag:
    """A plain attribute: a signal handler may interrupt anything, so it must not take a lock."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """Ask the running loop to checkpoint and raise StoppedError; the ranks agree on the step themselves."""
        self.requested = True

    def clear(self) -> None:
        """Take the request back, for the next run in this process."""
        self.requested = False


# Signals belong to the process, and so does the request.
STOP = StopFlag()
