"""The pool on real actors: killed ones lose nothing, a bad document is set aside alone, a full disk ends at once.

An item here is a list of small documents; what its work function does to each is written in the document itself.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.cluster.attempt import Attempt
from ulmfit_dist.cluster.pool import Done, Limits, SetAside, map_items
from ulmfit_dist.cluster.tries import MAX_TRIES
from ulmfit_dist.errors import DataError, InputError

pytestmark = pytest.mark.ray


@dataclass(frozen=True)
class Words:
    index: int
    documents: tuple[str, ...] = ()


def _length(document: str, log: Path) -> int:
    """What is done to a document; `log` gets a line for each time it ends the process or hangs."""
    if document in ("kill", "hang"):
        with log.open("a") as file:
            file.write(f"{document} {os.getpid()}\n")
    if document == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if document == "hang":
        threading.Event().wait()
    if document == "raise":
        raise ValueError("cannot be read")
    return len(document)


def _mapper(log: Path) -> Callable[[Words, Attempt], list[tuple[str, int]]]:
    def work(item: Words, attempt: Attempt) -> list[tuple[str, int]]:
        return attempt.map(lambda documents: [_length(document, log) for document in documents], item.documents)

    return work


def _streamer(log: Path) -> Callable[[Words, Attempt], list[tuple[str, int]]]:
    def work(item: Words, attempt: Attempt) -> list[tuple[str, int]]:
        def lengths(documents: Iterator[str]) -> Iterator[tuple[str, int]]:
            for document in documents:
                yield document, _length(document, log)

        return list(lengths(attempt.each(item.documents)))

    return work


NO_LIMITS = Limits()


def _run(make: Callable[[], object], items: list[Words], limits: Limits = NO_LIMITS) -> tuple[dict, dict, list[str]]:
    """Return what was done and what was set aside by item, and the reasons of the tries that failed."""
    retries: list[str] = []
    # Four actors on two CPUs: the two that cannot be placed must not hold up the others.
    outcomes = list(map_items(make, items, 4, lambda _, reason: retries.append(reason), limits))  # type: ignore[arg-type]
    done = {o.item.index: o for o in outcomes if isinstance(o, Done)}
    return done, {o.item.index: o.reason for o in outcomes if isinstance(o, SetAside)}, retries


GOOD = tuple("abcdefgh"[:n] for n in range(1, 9))


@pytest.mark.parametrize("make", [_mapper, _streamer])
def test_only_the_documents_that_end_their_process_are_set_aside(
    make: Callable[[Path], object], tmp_path: Path, local_ray: object
) -> None:
    log = tmp_path / "log"
    items = [Words(0, GOOD), Words(1, (*GOOD[:3], "kill", *GOOD[3:5], "raise", *GOOD[5:])), Words(2, GOOD)]
    done, aside, _ = _run(partial(make, log), items)
    assert aside == {}
    expected = [(document, len(document)) for document in GOOD]
    assert {index: outcome.receipt for index, outcome in done.items()} == dict.fromkeys(range(3), expected)
    assert done[1].set_aside == {3: "the worker process died", 6: "ValueError: cannot be read"}
    assert done[0].set_aside == done[2].set_aside == {}
    assert len(set(log.read_text().splitlines())) == MAX_TRIES, "three processes ended, no more"
    assert done[0].ran.pid != os.getpid()
    assert done[0].ran.seconds >= 0


def test_a_document_that_hangs_is_set_aside(tmp_path: Path, local_ray: object) -> None:
    log = tmp_path / "log"
    done, aside, retries = _run(partial(_mapper, log), [Words(0, ("a", "hang", "bc")), Words(1, GOOD)], Limits(1, 0.5))
    assert aside == {}
    assert done[0].receipt == [("a", 1), ("bc", 2)]
    assert done[0].set_aside == {1: "no end after 0.5 s"}
    assert retries == ["no end after 1 s", "no end after 0.5 s, at document 1", "no end after 0.5 s, at document 1"]
    assert len(set(log.read_text().splitlines())) == MAX_TRIES


def _stepper(folder: Path) -> Callable[[Words, Attempt], int]:
    def work(item: Words, attempt: Attempt) -> int:
        (folder / f"pid-{item.index}").write_text(str(os.getpid()))
        for document in attempt.each(item.documents):
            (folder / f"at-{item.index}").write_text(document)
            time.sleep(0.15)
        return len(item.documents)

    return work


def test_an_actor_that_somebody_kills_costs_a_try_and_nothing_else(tmp_path: Path, local_ray: object) -> None:
    victim = Words(0, tuple("abcdefg"))

    def kill_at(letter: str) -> None:
        while not (tmp_path / "at-0").exists() or (tmp_path / "at-0").read_text() != letter:
            time.sleep(0.01)
        os.kill(int((tmp_path / "pid-0").read_text()), signal.SIGKILL)

    # First in the fast try, then in two careful ones, each time at another document.
    killer = threading.Thread(target=lambda: [kill_at(letter) for letter in "bdc"])
    killer.start()
    done, aside, retries = _run(partial(_stepper, tmp_path), [victim, *(Words(i) for i in range(1, 6))])
    killer.join(10)
    assert aside == {}
    assert {index: outcome.receipt for index, outcome in done.items()} == {0: 7, **dict.fromkeys(range(1, 6), 0)}
    assert all(outcome.set_aside == {} for outcome in done.values())
    died = "the worker process died"
    assert retries == [died, f"{died}, at document 3", f"{died}, at document 2"]


def _together(folder: Path) -> Callable[[Words, Attempt], int]:
    def work(item: Words, attempt: Attempt) -> int:
        (folder / f"pid-{item.index}-{os.getpid()}").touch()
        if item.index == 0 and len(list(folder.glob("pid-0-*"))) == 1:
            while not (others := list(folder.glob("pid-1-*"))):
                time.sleep(0.01)
            time.sleep(0.3)
            os.kill(int(others[0].name.rpartition("-")[2]), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        return item.index

    return work


def test_an_item_is_not_sent_to_an_idle_actor_that_died_with_the_busy_one(tmp_path: Path, local_ray: object) -> None:
    # As when a node dies: an item that went from one of its dead actors to the next would be set aside unseen.
    done, aside, retries = _run(partial(_together, tmp_path), [Words(0), Words(1)])
    assert (set(done), aside) == ({0, 1}, {})
    assert retries == ["the worker process died"]


def _broken(folder: Path) -> Callable[[Words, Attempt], int]:
    def work(item: Words, attempt: Attempt) -> int:
        tries = folder / f"tries-{item.index}"
        with tries.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if item.index == 3 and len(tries.read_text().splitlines()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if item.index == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        if item.index == 7:
            raise ValueError("cannot be opened")
        return item.index**2

    return work


def test_an_item_that_fails_outside_any_document_is_set_aside_whole(tmp_path: Path, local_ray: object) -> None:
    done, aside, _ = _run(partial(_broken, tmp_path), [Words(i) for i in range(12)])
    assert aside == {5: "the worker process died", 7: "ValueError: cannot be opened"}
    assert {index: outcome.receipt for index, outcome in done.items()} == {i: i**2 for i in range(12) if i not in aside}
    for index in aside:
        assert len((tmp_path / f"tries-{index}").read_text().splitlines()) == MAX_TRIES


class _Lazy(Sequence[Words]):
    """Items that are made when they are taken."""

    taken = 0

    def __len__(self) -> int:
        return 400

    def __getitem__(self, index: Any) -> Any:
        self.taken += 1
        return Words(index)


def _indices() -> Callable[[Words, Attempt], int]:
    return lambda item, _: item.index


def test_items_are_taken_only_when_an_actor_is_free(local_ray: object) -> None:
    items, done = _Lazy(), set()
    for outcome in map_items(_indices, items, 2, lambda *_: None):
        assert isinstance(outcome, Done)
        done.add(outcome.receipt)
        assert items.taken <= len(done) + 2
    assert done == set(range(400))


def _full() -> Callable[[Words, Attempt], int]:
    def work(item: Words, attempt: Attempt) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "shard-00000.h5")

    return work


def test_a_full_disk_is_said_at_once(local_ray: object) -> None:
    with pytest.raises(DataError, match=r"shard-00000.h5.*No space left.*free space"):
        _run(_full, [Words(0)])


def _without_model() -> Callable[[Words, Attempt], int]:
    raise FileNotFoundError("no tokenizer here")


def test_workers_that_cannot_start_are_no_items_fault(local_ray: object) -> None:
    with pytest.raises(DataError, match=r"no worker can start.*FileNotFoundError: no tokenizer here"):
        _run(_without_model, [Words(0), Words(1)])


def _refusing() -> Callable[[Words, Attempt], int]:
    raise InputError("the tokenizer would give other ids here", found="spacy 3.9", do="install spacy 3.8")


def test_what_the_user_has_to_mend_is_said_in_its_own_words(local_ray: object) -> None:
    expected = "^the tokenizer would give other ids here; found: spacy 3.9; do: install spacy 3.8$"
    with pytest.raises(InputError, match=expected):
        _run(_refusing, [Words(0, GOOD), Words(1, GOOD)])
