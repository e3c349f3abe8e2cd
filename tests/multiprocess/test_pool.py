"""The pool on real actors: killed ones lose nothing, poison ends after three tries, a full disk ends at once."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from ulmfit_dist.cluster.pool import MAX_TRIES, SetAside, map_items
from ulmfit_dist.errors import DataError

pytestmark = pytest.mark.ray


@dataclass(frozen=True)
class Number:
    index: int


def _make(folder: Path) -> Callable[[Number], int]:
    def work(item: Number) -> int:
        tries = folder / f"tries-{item.index}"
        with tries.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if item.index == 3 and len(tries.read_text().splitlines()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if item.index == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        if item.index == 7:
            raise ValueError("cannot be read")
        return item.index**2

    return work


def _full(_: Path) -> Callable[[Number], int]:
    def work(item: Number) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "shard-00000.h5")

    return work


def test_kills_and_poison_lose_nothing(tmp_path: Path, local_ray: float) -> None:
    retries: list[int] = []
    outcomes = list(
        map_items(
            partial(_make, tmp_path), [Number(i) for i in range(12)], 2, lambda item, _: retries.append(item.index)
        )
    )
    aside = {o.item.index: o.reason for o in outcomes if isinstance(o, SetAside)}
    done = {o[0].index: o[1] for o in outcomes if not isinstance(o, SetAside)}
    assert set(aside) == {5, 7}
    assert "died" in aside[5]
    assert aside[7] == "ValueError: cannot be read"
    assert done == {i: i**2 for i in range(12) if i not in (5, 7)}
    assert len((tmp_path / "tries-5").read_text().splitlines()) == MAX_TRIES
    assert len((tmp_path / "tries-7").read_text().splitlines()) == MAX_TRIES
    assert retries.count(7) == MAX_TRIES - 1


def test_a_full_disk_is_said_at_once(tmp_path: Path, local_ray: float) -> None:
    with pytest.raises(DataError, match=r"shard-00000.h5.*No space left.*free space"):
        list(map_items(partial(_full, tmp_path), [Number(0)], 1, lambda *_: None))
