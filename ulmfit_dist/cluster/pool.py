"""A bounded pool of Ray actors over work items: no item is lost, no item can loop for ever.

Ray's own ActorPool loses the item of a dead actor, and infinite retries make a poison item an endless loop, so the
driver re-queues a failed item itself. Its second try is careful (attempt.py): it finds the document that ends the
process, which is set aside by name after three tries, and the rest of the item is done. Tokens never pass through the
object store: an actor writes its files and returns a small receipt.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import ray
from ray.exceptions import RayActorError, RayError

from ulmfit_dist.cluster.attempt import Attempt, Tell, Trail, reason_of
from ulmfit_dist.cluster.throughput import Ran
from ulmfit_dist.cluster.tries import MAX_TRIES, Tries
from ulmfit_dist.errors import DataError, InputError
from ulmfit_dist.files import storage_error

_WAIT_S = 5.0
_DIED = "the worker process died"
# Loading spaCy and a table takes seconds, so whoever kills actors often (25 in half a minute, in the bench) hits
# mostly starting ones: three deaths in a row say nothing there.
_MAX_START_DEATHS = 10


class _Item(Protocol):
    @property
    def index(self) -> int: ...


ItemT = TypeVar("ItemT", bound=_Item)
Work = Callable[[Any, Attempt], Any]
MakeWork = Callable[[], Work]


@dataclass(frozen=True)
class Limits:
    """Seconds after which a try counts as hung and its process is killed.

    item_seconds: a whole item, fast; document_seconds: one document (or what comes before the first and after the last)
    in a careful try.
    """

    item_seconds: float = 1800.0
    document_seconds: float = 600.0


class Done(NamedTuple, Generic[ItemT]):
    """A finished item; `set_aside` {position in the item: reason} are the documents that it was done without."""

    item: ItemT
    receipt: Any
    set_aside: dict[int, str]
    ran: Ran


@dataclass(frozen=True)
class SetAside(Generic[ItemT]):
    """An item that was given up, with the last reason: no document could be blamed."""

    item: ItemT
    reason: str


def map_items(
    make_work: MakeWork,
    items: Sequence[ItemT],
    workers: int,
    retried: Callable[[ItemT, str], None],
    limits: Limits = Limits(),
) -> Iterator[Done[ItemT] | SetAside[ItemT]]:
    """Run every item on up to `workers` actors; yield Done or SetAside as they end, in any order.

    make_work: picklable; called once in each actor, it returns the function (item, attempt) -> receipt.
    retried: told of each try that failed, with the reason and the document's position where that is known.
    Memory: a constant for each actor, whatever the number of items. An actor that cannot be placed yet is waited for
    while the others work. Raises DataError at once for a full disk or the like (no retry mends it), and when no actor
    can start: `make_work` raised three times, or ended its process ten times, for every one of them. An InputError of
    `make_work` is raised as it is.
    """
    run = _Run(make_work, items, max(1, min(workers, len(items))), retried, limits)
    try:
        yield from run.outcomes()
    finally:
        run.close()


class _Answer(NamedTuple):
    """How one try ended: with a receipt (`reason` None), or why not, and on which document."""

    receipt: Any = None
    set_aside: dict[int, str] = {}  # noqa: RUF012 - a default that nobody writes to
    seconds: float = 0.0
    reason: str | None = None
    position: int | None = None
    fatal: DataError | None = None


class _Worker:
    """The plain class behind the actor."""

    def __init__(self, make_work: MakeWork) -> None:
        self._make_work = make_work
        self._work: Work | None = None

    @ray.method
    def start(self) -> tuple[str, int] | str | InputError:
        """Make the work function if it is not there; return (node, pid), or why there is none."""
        try:
            self._work = self._work or self._make_work()
        except InputError as error:
            return error
        except Exception as error:  # noqa: BLE001 - it is the pool's to say
            return reason_of(error)
        return f"{socket.gethostname()}-{ray.get_runtime_context().get_node_id()[:6]}", os.getpid()

    @ray.method
    def run(self, item: Any, set_aside: dict[int, str], tell: Tell | None) -> _Answer:
        assert self._work is not None
        attempt, started = Attempt(set_aside, tell), time.monotonic()
        try:
            receipt = self._work(item, attempt)
        except Exception as error:  # noqa: BLE001 - any error is a failed try
            fatal = storage_error(error) if isinstance(error, OSError) else None
            return _Answer(reason=reason_of(error), position=attempt.position, fatal=fatal)
        return _Answer(receipt, attempt.set_aside, time.monotonic() - started)


_WorkerActor = ray.remote(_Worker)


@dataclass(eq=False)
class _Seat:
    """A place for one actor: a dead one is replaced, and a seat whose actors cannot start is given up."""

    actor: Any
    node: str = ""
    pid: int = 0
    failed_starts: int = 0


@dataclass
class _Live(Generic[ItemT]):
    """A try under way. `position` is where it was last known to be."""

    seat: _Seat
    item: ItemT
    tries: Tries
    ticket: int
    deadline: float
    position: int | None = None


class _Run(Generic[ItemT]):
    """One call of map_items: its seats, the tries under way, and the items that wait."""

    def __init__(
        self,
        make_work: MakeWork,
        items: Sequence[ItemT],
        workers: int,
        retried: Callable[[ItemT, str], None],
        limits: Limits,
    ) -> None:
        self._make_work, self._retried, self._limits = make_work, retried, limits
        self._items, self._next = items, 0
        self._again: deque[tuple[ItemT, Tries]] = deque()
        self._tickets = itertools.count(1)
        self._trail: Trail | None = None
        self._idle: deque[_Seat] = deque()
        self._starting: dict[Any, _Seat] = {}
        self._live: dict[Any, _Live[ItemT]] = {}
        for _ in range(workers):
            self._hire(_Seat(None))

    def outcomes(self) -> Iterator[Done[ItemT] | SetAside[ItemT]]:
        while self._send() or self._live:
            # ray.wait gives the first that is ready: new actors come before receipts, which never end.
            references = [*self._starting, *self._live]
            ready, _ = ray.wait(references, timeout=self._patience())
            for reference in ready:
                if reference in self._starting:
                    self._seat_ready(reference)
                elif (outcome := self._ended(reference)) is not None:
                    yield outcome
            for reference in [reference for reference, live in self._live.items() if self._hangs(live)]:
                if (outcome := self._kill(reference)) is not None:
                    yield outcome

    def close(self) -> None:
        seats = {*self._idle, *self._starting.values(), *(live.seat for live in self._live.values())}
        for seat in seats:
            ray.kill(seat.actor)
        if self._trail is not None:
            self._trail.close()

    def _hire(self, seat: _Seat) -> None:
        """Start an actor; it joins the idle ones when it answers.

        A dead one is replaced, not restarted by Ray: an item sent to an actor that is just restarting fails without
        having run, and would be blamed for it.
        """
        seat.actor = _WorkerActor.options(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD").remote(
            self._make_work
        )
        self._ask(seat)

    def _ask(self, seat: _Seat) -> None:
        """Let a seat have items once its actor has answered."""
        self._starting[seat.actor.start.remote()] = seat

    def _seat_ready(self, reference: Any) -> None:
        seat = self._starting.pop(reference)
        try:
            answer, most = ray.get(reference), MAX_TRIES
        except RayError:
            answer, most = _DIED, _MAX_START_DEATHS
        if isinstance(answer, tuple):
            (seat.node, seat.pid), seat.failed_starts = answer, 0
            self._idle.append(seat)
            return
        ray.kill(seat.actor)
        seat.failed_starts += 1
        if seat.failed_starts < most:
            self._hire(seat)
        elif not (self._starting or self._idle or self._live):
            if isinstance(answer, InputError):
                raise answer
            what, do = "no worker can start", "mend the cause, then run the same command: finished work is kept"
            raise DataError(what, found=f"{answer}, {seat.failed_starts} times in a row", do=do)

    def _send(self) -> bool:
        """Give waiting items to idle actors; return whether any still waits.

        One item at a time an actor: a second one queued there would share the blame for a death. The gap between items
        is a millisecond, an item some seconds.
        """
        while self._idle and (self._again or self._next < len(self._items)):
            if self._again:
                item, tries = self._again.popleft()
            else:
                item, tries = self._items[self._next], Tries()
                self._next += 1
            self._try(self._idle.popleft(), item, tries)
        return bool(self._again) or self._next < len(self._items)

    def _try(self, seat: _Seat, item: ItemT, tries: Tries) -> None:
        ticket, tell, seconds = next(self._tickets), None, self._limits.item_seconds
        if tries.careful:
            self._trail = self._trail or Trail()
            tell, seconds = self._trail.teller(ticket), self._limits.document_seconds
        reference = seat.actor.run.remote(item, tries.set_aside, tell)
        self._live[reference] = _Live(seat, item, tries, ticket, time.monotonic() + seconds)

    def _ended(self, reference: Any) -> Done[ItemT] | SetAside[ItemT] | None:
        live = self._live.pop(reference)
        try:
            answer: _Answer = ray.get(reference)
        except RayError as error:
            # Whatever Ray says of an actor that gave no answer (it died, its node did, it was killed for memory, it
            # does not answer): it gets no more items.
            return self._lost(live, _DIED if isinstance(error, RayActorError) else _first_line(error))
        if live.tries.careful and self._trail is not None:
            self._trail.forget(live.ticket)
        self._idle.append(live.seat)
        if answer.fatal is not None:
            raise answer.fatal
        if answer.reason is not None:
            return self._failed(live, answer.position, answer.reason)
        ran = Ran(live.seat.node, live.seat.pid, answer.seconds)
        return Done(live.item, answer.receipt, answer.set_aside, ran)

    def _lost(self, live: _Live[ItemT], reason: str) -> SetAside[ItemT] | None:
        """Replace the actor of a try that will not answer; the document it was on is in the trail."""
        ray.kill(live.seat.actor)
        self._hire(live.seat)
        # If the node is gone, so are its idle actors, and an item sent to three of them would be set aside unseen.
        for neighbour in [seat for seat in self._idle if seat.node == live.seat.node]:
            self._idle.remove(neighbour)
            self._ask(neighbour)
        position = None
        if live.tries.careful and self._trail is not None:
            position = self._trail.last(live.ticket)
            self._trail.forget(live.ticket)
        return self._failed(live, position, reason)

    def _failed(self, live: _Live[ItemT], position: int | None, reason: str) -> SetAside[ItemT] | None:
        if not live.tries.failed(position, reason):
            return SetAside(live.item, reason)
        self._retried(live.item, reason if position is None else f"{reason}, at document {position}")
        self._again.append((live.item, live.tries))
        return None

    def _patience(self) -> float:
        now = time.monotonic()
        return max(0.0, min([_WAIT_S, *(live.deadline - now for live in self._live.values())]))

    def _hangs(self, live: _Live[ItemT]) -> bool:
        """Whether a try is past its time; a careful one that has come to another document gets the time again."""
        now = time.monotonic()
        if now < live.deadline:
            return False
        if live.tries.careful and self._trail is not None:
            position = self._trail.last(live.ticket)
            if position != live.position:
                live.position, live.deadline = position, now + self._limits.document_seconds
                return False
        return True

    def _kill(self, reference: Any) -> SetAside[ItemT] | None:
        """End a try that hangs. ray.kill ends a process in a C loop at once, a stopped one (SIGSTOP) in 5 s."""
        live = self._live.pop(reference)
        seconds = self._limits.document_seconds if live.tries.careful else self._limits.item_seconds
        return self._lost(live, f"no end after {seconds:g} s")


def _first_line(error: RayError) -> str:
    return str(error).partition("\n")[0]
