"""Rows of CSV: a bad row costs its first line, and nothing after it."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.corpus import csvrows as csvrows_module
from ulmfit_dist.corpus.csvrows import CsvRows


def read(data):
    bad = []
    rows = list(CsvRows(io.BytesIO(data), ",", lambda *one: bad.append(one)))
    return rows, bad


def test_the_position_is_the_line_where_a_row_begins():
    rows, bad = read(b'a,b\n\n"c\nd\n",e\nf,g\n')
    assert rows == [("line 1", ["a", "b"]), ("line 3", ["c\nd\n", "e"]), ("line 6", ["f", "g"])]
    assert bad == []


@pytest.mark.parametrize(
    ("data", "good", "line"),
    [
        # The quote closes at the next quote, where no comma follows.
        (b'0,one\n0,"two\n0,three\n0,"four"\n0,five\n', ["one", "three", "four", "five"], 2),
        # It never closes.
        (b'0,one\n0,"two\n0,three\n0,four\n', ["one", "three", "four"], 2),
        (b'0,one\n0,two"\n0,"thr"ee"\n0,four', ["one", 'two"', "four"], 3),
        (b'"', [], 1),
    ],
)
def test_an_unclosed_quote_swallows_nothing(data, good, line):
    rows, bad = read(data)
    assert [fields[1] for _, fields in rows] == good
    assert [position for position, _, _ in bad] == [f"line {line}"]
    assert bad[0][1].startswith("not CSV: ")
    assert bad[0][2].encode() == data.splitlines(keepends=True)[line - 1]


def test_a_row_over_the_limit_is_too_large_and_the_next_is_read(monkeypatch):
    monkeypatch.setattr(csvrows_module, "MAX_RECORD_CHARACTERS", 50)
    long_line = b"0," + b"x" * 200
    long_field = b'0,"' + b"\n".join([b"y" * 30] * 3) + b'"'
    rows, bad = read(b"\n".join([b"0,one", long_line, b"0,two", long_field, b"0,three", b"a," * 40 + b"z", b"0,four"]))
    assert [(p, f[1]) for p, f in rows if f[0] == "0"] == [
        ("line 1", "one"), ("line 3", "two"), ("line 7", "three"), ("line 9", "four")
    ]  # fmt: skip
    assert [(position, reason) for position, reason, _ in bad] == [(f"line {n}", "too large") for n in (2, 4, 8)]


@given(st.lists(st.lists(st.text(max_size=12), min_size=2, max_size=4), max_size=8))
def test_whatever_csv_writes_is_read_back(rows):
    rows = [[field.replace("\ufeff", "").encode("utf-8", "replace").decode() for field in row] for row in rows]
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    read_rows, bad = read(out.getvalue().encode())
    assert [fields for _, fields in read_rows] == rows
    assert bad == []


@given(st.binary(max_size=300))
def test_hostile_bytes_end_and_lose_no_line(data):
    rows, bad = read(data)
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="surrogateescape", newline="").readlines()
    starts = {int(position.removeprefix("line ")) for position, *_ in [*rows, *bad]}
    assert starts <= set(range(1, len(lines) + 1))
    assert len(rows) + len(bad) <= len(lines)
