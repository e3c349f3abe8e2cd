"""Decisions: the same as going through all documents one by one, in order; row groups as written one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ulmfit_dist.crawl import decisions as decisions_module
from ulmfit_dist.crawl.decisions import AS_READ, DUPLICATE, FATES, KEY_TWICE, decide, plan_parts
from ulmfit_dist.crawl.piecefiles import HAS_WORDS, KEPT, ROWS

SPLITS = ["train", "valid"]


@dataclass(frozen=True)
class FakePiece:
    index: int
    source: int


def save(folder, pieces):
    """Pieces of rows (id, key, characters, split, state)."""
    for index, rows in enumerate(pieces):
        array = np.zeros(len(rows), ROWS)
        for place, (identity, key, characters, split, state) in enumerate(rows):
            array[place] = ((identity, 7), (key, 9), characters, split, state)
        array.tofile(folder / f"{index:05d}.rows")


def one_by_one(pieces, sources, drops):
    """What a single pass over the documents decides."""
    ids, texts, out = set(), set(), []
    for rows, source in zip(pieces, sources, strict=True):
        fates = []
        for identity, key, _, _, state in rows:
            fate = AS_READ
            if identity in ids:
                fate = KEY_TWICE
            elif state & HAS_WORDS:
                if drops[source] and key in texts:
                    fate = DUPLICATE
                elif state & KEPT:
                    texts.add(key)
            ids.add(identity)
            fates.append(fate)
        out.append(fates)
    return out


row = st.tuples(
    st.integers(0, 12), st.integers(0, 5), st.integers(0, 9), st.integers(0, 1), st.sampled_from([0, 1, 3, 3, 3])
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.lists(row, max_size=8), min_size=1, max_size=4),
    sources=st.lists(st.integers(0, 1), min_size=4, max_size=4),
    drops=st.tuples(st.booleans(), st.booleans()),
    bucket_rows=st.sampled_from([1, 5, 1 << 24]),
)
def test_as_one_pass_in_order_decides(tmp_path, pieces, sources, drops, bucket_rows):
    save(tmp_path, pieces)
    owners = [FakePiece(index, source) for index, source in enumerate(sorted(sources[: len(pieces)]))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decisions_module, "_BUCKET_ROWS", bucket_rows)
        found = decide(tmp_path, owners, drops)
    assert [fates.tolist() for fates in found] == one_by_one(pieces, [owner.source for owner in owners], drops)


def groups_one_by_one(pieces, decided, split, max_characters, max_rows):
    groups, pending, characters = [], [], 0
    for index, (rows, fates) in enumerate(zip(pieces, decided, strict=True)):
        mine = [(r, f) for r, f in zip(rows, fates, strict=True) if r[3] == split]
        for place, (fields, fate) in enumerate(mine):
            if fate == KEY_TWICE:
                continue
            pending.append((index, place))
            characters += fields[2]
            if characters >= max_characters or len(pending) == max_rows:
                groups.append((pending, characters))
                pending, characters = [], 0
    return [*groups, (pending, characters)] if pending else groups


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.lists(row, max_size=12), max_size=4),
    limits=st.tuples(st.integers(1, 25), st.integers(1, 6), st.integers(1, 3)),
    data=st.data(),
)
def test_row_groups_close_as_one_writer_closes_them(tmp_path, pieces, limits, data):
    max_characters, max_rows, max_groups = limits
    save(tmp_path, pieces)
    fate = st.sampled_from([AS_READ, DUPLICATE, KEY_TWICE])
    decided = [data.draw(st.lists(fate, min_size=len(rows), max_size=len(rows))) for rows in pieces]
    fates = [
        np.array([(fate, r[3]) for r, fate in zip(rows, some, strict=True)], FATES)
        for rows, some in zip(pieces, decided, strict=True)
    ]
    parts = plan_parts(tmp_path, fates, SPLITS, limits)
    assert [part.index for part in parts] == list(range(len(parts)))
    for number, split in enumerate(SPLITS):
        mine = [part for part in parts if part.split == split]
        assert [part.number for part in mine] == list(range(len(mine)))
        assert all(len(part.groups) <= max_groups for part in mine)
        assert all(len(part.groups) == max_groups for part in mine[:-1])
        fates = [
            [f for r, f in zip(rows, some, strict=True) if r[3] == number]
            for rows, some in zip(pieces, decided, strict=True)
        ]
        found = [
            [
                (run.piece, place)
                for run in runs
                for place in range(run.start, run.stop)
                if fates[run.piece][place] != KEY_TWICE
            ]
            for part in mine
            for runs in part.groups
        ]
        expected = groups_one_by_one(pieces, decided, number, max_characters, max_rows)
        assert found == [group for group, _ in expected]
        assert sum(part.size for part in mine) == sum(characters for _, characters in expected)
