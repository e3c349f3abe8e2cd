"""A bounded pool of Ray actors over work items: no item is lost, no item can loop for ever.

Ray's own ActorPool loses the item of a dead actor, and infinite retries make a poison item an endless loop, so the
driver re-queues a failed item itself, three tries in all, and then sets it aside by name. Tokens never pass through the
object store: an actor writes its files and returns a small receipt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

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
    options = _WorkerActor.options(num_cpus=1, max_restarts=-1, max_task_retries=0, scheduling_strategy="SPREAD")
    actors = [options.remote(make_work) for _ in range(max(1, min(workers, len(items))))]
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
                idle.append(worker)
                outcome, reason = _collect(reference)
                if reason is None:
                    yield item, outcome
                elif attempt < MAX_TRIES:
                    retried(item, reason)
                    todo.append((item, attempt + 1))
                else:
                    yield SetAside(item, reason)
    finally:
        for worker in actors:
            ray.kill(worker)  # type: ignore[arg-type]  # the stub of .remote() also allows the plain class


def _collect(reference: Any) -> tuple[Any, str | None]:
    try:
        return ray.get(reference), None
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, OSError) and (fatal := storage_error(cause)):
            raise fatal from error
        if isinstance(cause, UlmfitError):
            return None, str(cause)
        return None, f"{type(cause).__name__}: {cause}"
    except RayActorError:
        return None, "the worker process died"
    except RayError as error:
        return None, str(error).splitlines()[0]
