"""Errors survive the way between processes and carry DESIGN's exit codes."""

from __future__ import annotations

import pickle
import signal

import pytest

from ulmfit_dist import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UlmfitError, 1),
        (errors.InputError, 2),
        (errors.RecipeError, 2),
        (errors.DataError, 1),
        (errors.DigestError, 1),
        (errors.PartialError, 3),
        (errors.LockedError, 4),
        (errors.JobLostError, 5),
        (errors.StoppedError, 6),
    ],
)
def test_exit_codes_and_pickling(kind: type[errors.UlmfitError], code: int) -> None:
    error = kind("what", found="this", do="that")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "what; found: this; do: that"
    assert again.exit_code == code


def test_a_signal_has_the_shells_exit_code() -> None:
    assert errors.SignalledError(signal.SIGTERM, do="x").exit_code == 143
    assert errors.SignalledError(signal.SIGINT, do="x").exit_code == 130
