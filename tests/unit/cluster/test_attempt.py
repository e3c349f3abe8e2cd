"""A try as the work function sees it: the same results fast and careful, and a position told before each document."""

from __future__ import annotations

import errno
import os

import pytest

from ulmfit_dist.cluster.attempt import Attempt, reason_of
from ulmfit_dist.errors import DataError

DOCUMENTS = ["ant", "bee", "cat", "dog"]


def _lengths(documents: list[str]) -> list[int]:
    if "bad" in documents:
        raise ValueError("what is this")
    return [len(document) for document in documents]


def test_fast_and_careful_give_the_same() -> None:
    calls: list[list[str]] = []

    def lengths(documents: list[str]) -> list[int]:
        calls.append(documents)
        return _lengths(documents)

    expected = [("ant", 3), ("cat", 3), ("dog", 3)]
    assert Attempt({1: "died"}).map(lengths, DOCUMENTS) == expected
    assert Attempt({1: "died"}, lambda _: None).map(lengths, DOCUMENTS) == expected
    assert calls == [["ant", "cat", "dog"], ["ant"], ["cat"], ["dog"]]


def test_a_careful_try_tells_each_position_before_the_document_and_that_it_is_past_the_last() -> None:
    told: list[object] = []
    attempt = Attempt({2: "died"}, told.append)
    told.extend(attempt.each(DOCUMENTS))
    assert told == [0, "ant", 1, "bee", 3, "dog", None]
    assert attempt.position is None


def test_a_fast_try_knows_no_position() -> None:
    attempt = Attempt({})
    assert not attempt.careful
    assert [attempt.position for _ in attempt.each(DOCUMENTS)] == [None] * 4
    with pytest.raises(ValueError, match="what is this"):
        attempt.map(_lengths, ["ant", "bad"])
    assert attempt.position is None
    assert attempt.set_aside == {}


def test_what_is_raised_in_a_careful_try_is_laid_to_its_document() -> None:
    attempt = Attempt({}, lambda _: None)
    with pytest.raises(ValueError, match="what is this"):
        sum(_lengths([document])[0] for document in attempt.each(["ant", "bad", "cat"]))
    assert attempt.position == 1


def test_an_error_that_comes_back_sets_the_document_aside_and_the_try_goes_on() -> None:
    known = {0: "died"}
    attempt = Attempt(known, lambda _: None)
    assert attempt.map(_lengths, ["ant", "bad", "cat"]) == [("cat", 3)]
    assert attempt.set_aside == {0: "died", 1: "ValueError: what is this"}
    assert known == {0: "died"}


def test_an_error_that_does_not_come_back_is_forgotten() -> None:
    calls: list[str] = []

    def flaky(documents: list[str]) -> list[int]:
        calls.extend(documents)
        if calls == ["ant"]:
            raise MemoryError
        return _lengths(documents)

    attempt = Attempt({}, lambda _: None)
    assert attempt.map(flaky, ["ant", "bee"]) == [("ant", 3), ("bee", 3)]
    assert attempt.set_aside == {}


def test_a_full_disk_is_no_documents_fault() -> None:
    def full(_: list[str]) -> list[int]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        Attempt({}, lambda _: None).map(full, DOCUMENTS)


def test_reasons_are_one_line() -> None:
    assert (
        reason_of(DataError("no text", found="nothing", do="write some")) == "no text; found: nothing; do: write some"
    )
    assert reason_of(KeyError("x")) == "KeyError: 'x'"
