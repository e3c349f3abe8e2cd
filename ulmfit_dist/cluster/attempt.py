"""One try at a work item, as the work function sees it: which documents to leave out, and whether to go carefully.

A first try is fast. After a failure the item is done carefully: document by document, each position told to the driver
before the document is touched, so that a death can be laid to the document that caused it, and to no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ulmfit_dist.errors import UlmfitError
from ulmfit_dist.files import storage_error

D = TypeVar("D")
R = TypeVar("R")
Tell = Callable[[int | None], None]


class Attempt:
    """What a work function gets beside its item; a document's position counts from 0 in the item's own order.

    `set_aside` {position: reason} are the documents to leave out, those that this very try gave up included: what the
    work keeps of them belongs into its receipt, since a driver that is killed forgets them.
    `position` is the document that is being worked on, None when there is none, or when it is not known (a fast try).
    """

    def __init__(self, set_aside: dict[int, str], tell: Tell | None = None) -> None:
        self.set_aside = dict(set_aside)
        self.position: int | None = None
        self._tell = tell

    @property
    def careful(self) -> bool:
        """Whether to go document by document."""
        return self._tell is not None

    def each(self, documents: Iterable[D]) -> Iterator[D]:
        """Yield the documents that are not set aside; for a consumer that ends with one before it asks for the next.

        What is raised or dies in between is laid to that document if this try is careful.
        """
        for position, document in enumerate(documents):
            if position in self.set_aside:
                continue
            self._at(position)
            yield document
        self._at(None)

    def map(self, function: Callable[[list[D]], Sequence[R]], documents: Iterable[D]) -> list[tuple[D, R]]:
        """Return (document, result) of the documents that are not set aside, in order.

        function: a list of documents -> as many results; it gets all of them at once, in a careful try one by one.
        A document whose error comes back in a careful try, a second time on its own, is set aside and the item goes on:
        with the fast try that failed these are three, and no process had to end for it.
        """
        if not self.careful:
            kept = list(self.each(documents))
            return list(zip(kept, function(kept), strict=True))
        results: list[tuple[D, R]] = []
        for document in self.each(documents):
            position = self.position
            assert position is not None
            try:
                results.append((document, _twice(function, document)))
            except Exception as error:
                if isinstance(error, OSError) and storage_error(error):
                    raise
                self.set_aside[position] = reason_of(error)
        return results

    def _at(self, position: int | None) -> None:
        if self._tell is not None:
            self.position = position
            self._tell(position)


class _Trail:
    """The plain class behind the actor that remembers which document each careful try is on."""

    def __init__(self) -> None:
        self._positions: dict[int, int | None] = {}

    @ray.method
    def at(self, ticket: int, position: int | None) -> None:
        self._positions[ticket] = position

    @ray.method
    def last(self, ticket: int) -> int | None:
        return self._positions.get(ticket)

    @ray.method
    def forget(self, ticket: int) -> None:
        self._positions.pop(ticket, None)


_TrailActor = ray.remote(_Trail)


class Trail:
    """The driver's memory of positions: an actor without a CPU on the driver's own node, so it lives as it does.

    A file beside the worker could not be read once the worker's node is gone. The worker waits for the answer: 1.0 ms a
    document on one host against 0.3 ms without waiting, but of 24 processes that killed themselves right after leaving
    a position, waiting kept 24 of 24 and not waiting 1 of 24.
    """

    def __init__(self) -> None:
        here = ray.get_runtime_context().get_node_id()
        place = NodeAffinitySchedulingStrategy(here, soft=False)
        self._actor: Any = _TrailActor.options(
            num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=place
        ).remote()
        # A careful try has a time limit: it must not pay for this actor's start.
        ray.get(self._actor.last.remote(0))

    def teller(self, ticket: int) -> Tell:
        """Return what tells the positions of one try; it can be sent to an actor."""
        return _Teller(self._actor, ticket)

    def last(self, ticket: int) -> int | None:
        """Return the document that a try is on, or was on when its process died."""
        position: int | None = ray.get(self._actor.last.remote(ticket))
        return position

    def forget(self, ticket: int) -> None:
        """Drop what is known of a try that ended."""
        self._actor.forget.remote(ticket)

    def close(self) -> None:
        """End the actor, after what was told to it last: Ray would try that again, and say so."""
        ray.get(self._actor.last.remote(0))
        ray.kill(self._actor)


class _Teller:
    def __init__(self, actor: Any, ticket: int) -> None:
        self._actor, self._ticket = actor, ticket

    def __call__(self, position: int | None) -> None:
        ray.get(self._actor.at.remote(self._ticket, position))


def reason_of(error: BaseException) -> str:
    """Return one line that says why: our own errors speak for themselves, others by their type."""
    return str(error) if isinstance(error, UlmfitError) else f"{type(error).__name__}: {error}"


def _twice(function: Callable[[list[D]], Sequence[R]], document: D) -> R:
    try:
        (result,) = function([document])
    except Exception:  # noqa: BLE001 - the second call raises what stays
        (result,) = function([document])
    return result
