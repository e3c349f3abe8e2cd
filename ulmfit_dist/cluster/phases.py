"""Phases: the same work on every item of a stage, each item's result a file, its receipt beside it written last.

A result does not depend on who made it, or when: a driver that is killed and started again finds what is done by the
receipts and does only what is missing.
"""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import ray

from ulmfit_dist.cluster.attempt import Attempt
from ulmfit_dist.cluster.pool import Done, SetAside, map_items
from ulmfit_dist.cluster.throughput import Ran, Throughput
from ulmfit_dist.cluster.without_torch import torch_left_out
from ulmfit_dist.corpus.documents import Document, WorkItem, read_item
from ulmfit_dist.errors import DataError, StoppedError
from ulmfit_dist.files import digest_file, read_json, write_json
from ulmfit_dist.stage import StageCall
from ulmfit_dist.training.stop import STOP

Receipt = dict[str, Any]
Work = Callable[[Any, Attempt], Receipt]
_QUARANTINE_SHARE = 0.01


class Item(Protocol):
    """What a phase works on."""

    @property
    def index(self) -> int:
        """Its place among the items."""

    @property
    def characters(self) -> int:
        """Its size."""

    @property
    def digest(self) -> str:
        """The digest of what it holds."""


@dataclass(frozen=True)
class Part:
    """One of `parts` ranges of hashes, as an item."""

    index: int
    characters: int
    digest: str
    parts: int


@dataclass(frozen=True)
class Phase:
    """One phase: its name for people, where its receipts lie, and what makes the work function in each actor.

    `is_whole`: whether what a receipt describes is there.
    """

    name: str
    receipts: Path
    make_work: Callable[[], Work]
    is_whole: Callable[[Receipt], bool]


def run_phase(phase: Phase, items: Sequence[Item], call: StageCall[Any], workers: int) -> list[Receipt]:
    """Do what is missing of a phase on the pool and return the receipts of all items, in their order.

    An item that could not be done has no receipt: it is an event and a file in `quarantine/`. Raises DataError when
    that, with the single documents set aside, is more than 1 % of the items' documents, StoppedError between two items
    when a stop is asked for.
    """
    missing = [item for item in items if not _is_done(phase, item)]
    for item in missing:
        _quarantined(phase, item, call).unlink(missing_ok=True)
    total = sum(item.characters for item in items)
    done = total - sum(item.characters for item in missing)
    throughput = Throughput("characters")

    def retried(item: Item, reason: str) -> None:
        call.reporter.event("item-retried", phase=phase.name, item=item.index, reason=reason)

    make = partial(_recorded, phase.make_work, phase.receipts)
    # One merge alone, or a stage that is called without a Ray, needs no process of its own.
    here = not ray.is_initialized() or (len(missing) == 1 and isinstance(missing[0], Part))
    pooled = partial(_collected_between_items, make)
    outcomes = _do_here(make, missing) if here else map_items(pooled, missing, workers, retried)
    for outcome in outcomes if missing else ():
        done += outcome.item.characters
        if isinstance(outcome, SetAside):
            _set_aside(phase, outcome, call)
        else:
            throughput.add(outcome.ran, outcome.item.characters)
            for position, reason in outcome.set_aside.items():
                where = {"item": outcome.item.index, "position": position}
                call.reporter.event("document-quarantined", phase=phase.name, **where, reason=reason)
        call.reporter.progress(done, total, what=phase.name, nodes=throughput.line())
        if STOP.requested:
            raise StoppedError(f"stopped between two work items ({phase.name})", do="run the same command to continue")
    if missing:
        call.reporter.event("phase-finished", phase=phase.name, nodes=throughput.as_dict())
    receipts = [read_json(path) if (path := _path(phase.receipts, item)).is_file() else None for item in items]
    _check_share(phase, items, receipts)
    return [receipt for receipt in receipts if receipt is not None]


def each_document(item: WorkItem, attempt: Attempt, work: Callable[[list[Document]], None]) -> dict[str, str]:
    """Give the work an item's documents, all at once or in a careful try one by one.

    Returns {document id: reason} of those that are set aside.
    """
    documents = read_item(item)

    def results(batch: list[Document]) -> list[Document]:
        work(batch)
        return batch

    attempt.map(results, documents)
    return {documents[position].id: reason for position, reason in sorted(attempt.set_aside.items())}


def file_is_whole(folder: Path, receipt: Receipt) -> bool:
    """Whether the file that a receipt names is in the folder, and what was written."""
    path = folder / receipt["name"]
    return path.is_file() and digest_file(path) == str(receipt["xxh3_128"])


def _recorded(make_work: Callable[[], Work], receipts: Path) -> Work:
    work = make_work()

    def run(item: Item, attempt: Attempt) -> Receipt:
        receipt = work(item, attempt)
        write_json(_path(receipts, item), {**receipt, "item": item.digest, "set_aside": len(attempt.set_aside)})
        return {}

    return run


def _collected_between_items(make_work: Callable[[], Work]) -> Work:
    """Make a worker's function, in a process that works for nobody else."""
    with torch_left_out():
        work = make_work()
    # What is there by now lives as long as the process. Without this the collector walks through spaCy's half million
    # objects again and again: a third of the time that cutting new chunks takes. Within an item it finds nothing (the
    # tokens of a million chunks are no cycles) and costs a fifth, so it runs between items.
    gc.collect()
    gc.freeze()
    gc.disable()

    def run(item: Item, attempt: Attempt) -> Receipt:
        receipt = work(item, attempt)
        gc.collect()
        return receipt

    return run


def _do_here(make: Callable[[], Work], items: Sequence[Item]) -> Iterator[Done[Any]]:
    work = make()
    for item in items:
        attempt, started = Attempt({}), time.monotonic()
        receipt = work(item, attempt)
        ran = Ran(socket.gethostname(), os.getpid(), time.monotonic() - started)
        yield Done(item, receipt, attempt.set_aside, ran)


def _is_done(phase: Phase, item: Item) -> bool:
    path = _path(phase.receipts, item)
    if not path.is_file():
        return False
    receipt = read_json(path)
    return bool(receipt["item"] == item.digest and phase.is_whole(receipt))


def _set_aside(phase: Phase, outcome: SetAside[Any], call: StageCall[Any]) -> None:
    item = outcome.item
    call.reporter.event("item-quarantined", phase=phase.name, item=item.index, reason=outcome.reason)
    record = {"phase": phase.name, "item": item.index, "digest": item.digest, "reason": outcome.reason}
    write_json(_quarantined(phase, item, call), record)


def _quarantined(phase: Phase, item: Item, call: StageCall[Any]) -> Path:
    return call.out / "quarantine" / f"{phase.name.replace(' ', '-')}-{item.index:05d}.json"


def _check_share(phase: Phase, items: Sequence[Item], receipts: Sequence[Receipt | None]) -> None:
    lost = [item for item, receipt in zip(items, receipts, strict=True) if receipt is None]
    rows = sum(_rows(item) for item in items)
    aside = sum(receipt["set_aside"] for receipt in receipts if receipt is not None)
    if aside + sum(map(_rows, lost)) > _QUARANTINE_SHARE * rows:
        raise DataError(
            f"too much of the text cannot be worked on ({phase.name})",
            found=f"{len(lost)} of {len(items)} work items and {aside} single documents set aside",
            do="the reasons are in events.jsonl of this stage; mend or remove those documents",
        )


def _rows(item: Item) -> int:
    return item.rows if isinstance(item, WorkItem) else 1


def _path(folder: Path, item: Item) -> Path:
    return folder / f"{item.index:05d}.json"
