"""Tallies of a scan that never holds what it scans: lengths, seeded samples, heavy sites, largest clusters.

Each has a bound on its memory, and its result does not depend on the order of what is added, but for `Heaviest` once it
is over its bound, which then says by how much it may be wrong.
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Numbers keep their ten highest bits: exact below 1,024, at most 0.2 % too low beyond; some 500 to a power of two.
_BITS = 10


class Lengths:
    """Percentiles of whole numbers >= 0."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, numbers: np.ndarray) -> None:
        """Count some numbers, of any integer type."""
        shift = np.maximum(np.frexp(numbers.astype(np.float64))[1] - _BITS, 0)
        values, counts = np.unique(numbers.astype(np.int64) >> shift << shift, return_counts=True)
        self._counts.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def percentiles(self, shares: Sequence[float]) -> list[int]:
        """Return for each share (0..1) the smallest number that so many are not above; 0 where none was added."""
        values = sorted(self._counts)
        ends = np.cumsum([self._counts[value] for value in values])
        return [values[int(np.searchsorted(ends, share * ends[-1] - 1e-9))] if values else 0 for share in shares]


class Samples:
    """A few of all keys of each group: those whose seeded hash is lowest, whatever came first."""

    def __init__(self, number: int, seed: int) -> None:
        self._number, self._seed = number, seed
        self._groups: dict[tuple[str, ...], list[tuple[int, str, Any]]] = {}

    def add(self, group: tuple[str, ...], key: str, make: Callable[[], Any]) -> None:
        """Offer one; `make` is called only if it is among the lowest so far."""
        rank = xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass"), seed=self._seed)
        some = self._groups.setdefault(group, [])
        if len(some) < self._number or (rank, key) < some[-1][:2]:
            bisect.insort(some, (rank, key, make()), key=lambda one: one[:2])
            del some[self._number :]

    def of(self, group: tuple[str, ...]) -> list[Any]:
        """Return the samples of a group, the lowest hash first."""
        return [one for _, _, one in self._groups.get(group, [])]


class Heaviest:
    """The names with most weight. Over `room` names the light ones are given up (Misra and Gries 1982).

    `slack`: what a weight may be too low by then; no name heavier than that is missed.
    """

    def __init__(self, room: int) -> None:
        self._room, self.slack = room, 0
        self._found: dict[str, list[int]] = {}

    def add(self, name: str, weight: int) -> None:
        """Add to a name's weight, and one to its number."""
        one = self._found.setdefault(name, [0, 0])
        one[0] += weight
        one[1] += 1
        if len(self._found) > self._room:
            cut = sorted(one[0] for one in self._found.values())[len(self._found) // 2]
            self.slack += cut
            self._found = {name: [w - cut, n] for name, (w, n) in self._found.items() if w > cut}

    def __len__(self) -> int:
        return len(self._found)

    def most(self, number: int) -> list[tuple[str, int, int]]:
        """Return so many (name, weight, number), the heaviest first; equals by name."""
        ordered = sorted(self._found.items(), key=lambda item: (-item[1][0], item[0]))
        return [(name, weight, count) for name, (weight, count) in ordered[:number]]


@dataclass
class Cluster:
    """Of a cluster of near-duplicates: how many documents became what, and some of them, the kept one first."""

    size: int
    fates: Counter[str] = field(default_factory=Counter)
    members: list[tuple[bool, str, Any]] = field(default_factory=list)


class LargestClusters:
    """The largest clusters, with a few members each.

    Every member tells its cluster's size: a cluster that is among the largest is so from its first member on, and
    misses none.
    """

    def __init__(self, number: int, members: int) -> None:
        self._number, self._members = number, members
        self._found: dict[str, Cluster] = {}

    def add(self, cluster: str, size: int, member: tuple[str, str], make: Callable[[], Any]) -> None:
        """Add a member (id, what became of it); `make` is called only if it is shown."""
        if cluster not in self._found:
            if len(self._found) == self._number:
                least = max(self._found, key=lambda name: (-self._found[name].size, name))
                if (-size, cluster) > (-self._found[least].size, least):
                    return
                del self._found[least]
            self._found[cluster] = Cluster(size)
        found = self._found[cluster]
        key, fate = member
        found.fates[fate] += 1
        place = (key != cluster, key)
        if len(found.members) < self._members or place < found.members[-1][:2]:
            bisect.insort(found.members, (*place, make()), key=lambda one: one[:2])
            del found.members[self._members :]

    def largest(self) -> list[tuple[str, Cluster]]:
        """Return the clusters by name, the largest first; equals by name."""
        return sorted(self._found.items(), key=lambda item: (-item[1].size, item[0]))
