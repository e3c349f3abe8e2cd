"""Failures of an item: only a document that is the place of three is blamed, and nothing loops for ever."""

from __future__ import annotations

import pytest

from ulmfit_dist.cluster.tries import MAX_SCATTERED_TRIES, MAX_TRIES, Tries


def _after(*positions: int | None) -> tuple[Tries, bool]:
    tries, go_on = Tries(), True
    for position in positions:
        assert go_on
        go_on = tries.failed(position, f"died at {position}")
    return tries, go_on


@pytest.mark.parametrize(
    ("positions", "blamed"),
    [
        ((None,), set()),
        ((None, 4), set()),
        ((None, 4, 4), {4}),
        # The fast try's place is unknown: it counts only if nothing speaks for another document.
        ((None, 4, 5), set()),
        ((None, 4, 5, 4), set()),
        ((None, 4, 5, 4, 4), {4}),
        ((None, None, 4, 4), set()),
        ((None, None, 4, 4, 4), {4}),
        ((None, 4, 4, None, 7, 7), {4, 7}),
        ((None, 0, 0), {0}),
    ],
)
def test_a_document_is_blamed_for_three_failures(positions: tuple[int | None, ...], blamed: set[int]) -> None:
    tries, go_on = _after(*positions)
    assert go_on
    assert tries.set_aside == {position: f"died at {position}" for position in blamed}


def test_a_try_is_careful_after_a_failure_and_fast_again_after_a_document_was_blamed() -> None:
    assert not Tries().careful
    assert _after(None)[0].careful
    assert _after(None, 3)[0].careful
    assert not _after(None, 3, 3)[0].careful


@pytest.mark.parametrize(
    "positions", [(None,) * MAX_TRIES, (None, 1, None, 2, None), tuple(range(MAX_SCATTERED_TRIES))]
)
def test_an_item_is_given_up_when_no_document_can_be_blamed(positions: tuple[int | None, ...]) -> None:
    tries, go_on = _after(*positions)
    assert not go_on
    assert tries.set_aside == {}
