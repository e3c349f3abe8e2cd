"""A bounded pool of Ray actors over work items: no item is lost, no item can loop for ever.

Ray's own ActorPool loses the item of a dead actor, and infinite retries make a poison item an endless loop, so the
driver re-queues a failed item itself, three tries in all, and then sets it aside by name. Tokens never pass through the
object store: an actor writes its files and returns a small receipt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from ulmfit_dist.errors import UlmfitError
from ulmfit_dist.files import storage_error

MAX_TRIES = 3

T = TypeVar("T")


class _Item(Protocol):
    @property
    def index(self) -> int: ...


ItemT = TypeVar("ItemT", bound=_Item)
MakeWork = Callable[[], Callable[[Any], Any]]


class _Worker:
    """The plain class behind the actor: `make_work` runs once in it and gives the function for items."""

    def __init__(self, make_work: MakeWork) -> None:
        self._work = make_work()

    @ray.method
    def run(self, item: Any) -> Any:
        return self._work(item)


_WorkerActor = ray.remote(_Worker)


@dataclass(frozen=True)
class SetAside(Generic[ItemT]):
    """An item that failed `MAX_TRIES` times, with the last reason."""

    item: ItemT
    reason: str


def map_items(
    make_work: MakeWork, items: Sequence[ItemT], workers: int, retried: Callable[[ItemT, str], None]
) -> Iterator[tuple[ItemT, Any] | SetAside[ItemT]]:
    """Run every item on up to `workers` actors; yield (item, receipt), or SetAside, as they end, in any order.

    make_work: picklable; called once in each actor, it returns the function item -> receipt.
    retried: told of each try that failed. Raises DataError at once for a full disk or the like: no retry mends it.
    """
    actors = {_hire(make_work) for _ in range(max(1, min(workers, len(items))))}
    # One item at a time an actor: a second one queued there would share the blame for a death. The gap between items is
    # a millisecond, an item some seconds.
    idle = deque(actors)
    todo = deque((item, 1) for item in items)
    live: dict[Any, tuple[Any, ItemT, int]] = {}
    try:
        while todo or live:
            while todo and idle:
                worker, (item, attempt) = idle.popleft(), todo.popleft()
                live[worker.run.remote(item)] = (worker, item, attempt)
            done, _ = ray.wait(list(live), timeout=5)
            for reference in done:
                worker, item, attempt = live.pop(reference)
                ended = _collect(reference)
                if ended.died:
                    actors.remove(worker)
                    actors.add(worker := _hire(make_work))
                idle.append(worker)
                if ended.reason is None:
                    yield item, ended.receipt
                elif attempt < MAX_TRIES:
                    retried(item, ended.reason)
                    todo.append((item, attempt + 1))
                else:
                    yield SetAside(item, ended.reason)
    finally:
        for worker in actors:
            ray.kill(worker)


def _hire(make_work: MakeWork) -> Any:
    """Start an actor.

    A dead one is replaced, not restarted by Ray: an item sent to an actor that is just restarting fails without having
    run, and would be blamed for it.
    """
    return _WorkerActor.options(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD").remote(make_work)


class _Ended(NamedTuple):
    """How one try ended: with a receipt, or with a reason; and whether the actor is gone."""

    receipt: Any = None
    reason: str | None = None
    died: bool = False


def _collect(reference: Any) -> _Ended:
    try:
        return _Ended(ray.get(reference))
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, OSError) and (fatal := storage_error(cause)):
            raise fatal from error
        return _Ended(reason=str(cause) if isinstance(cause, UlmfitError) else f"{type(cause).__name__}: {cause}")
    except RayActorError:
        return _Ended(reason="the worker process died", died=True)
    except RayError as error:
        return _Ended(reason=str(error).splitlines()[0])
