"""The stop flag as a signal handler uses it."""

from __future__ import annotations

import signal

from ulmfit_dist.training.stop import StopFlag


def test_a_signal_handler_sets_it() -> None:
    flag = StopFlag()
    before = signal.signal(signal.SIGUSR1, lambda *_: flag.request())
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert flag.requested
    flag.clear()
    assert not flag.requested
