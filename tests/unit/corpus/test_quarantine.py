"""Quarantine: every bad record is named once, and too many fail the stage."""

from __future__ import annotations

import json

import pytest

from ulmfit_dist.corpus.quarantine import Quarantine, Tally
from ulmfit_dist.errors import DataError


def test_records_are_written_in_order_and_counted(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    with Quarantine(path) as quarantine:
        quarantine.add("a.csv", "line 3", "broken UTF-8", "caf\udce9")
        quarantine.add("b.csv", "line 1", "no label", "x" * 1000)
    rows = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    assert [(row["source"], row["position"], row["reason"]) for row in rows] == [
        ("a.csv", "line 3", "broken UTF-8"),
        ("b.csv", "line 1", "no label"),
    ]
    assert rows[0]["sample"] == "caf\udce9"
    assert len(rows[1]["sample"]) == 200
    assert (quarantine.total, quarantine.by_source["a.csv"]) == (2, 1)


def test_nothing_bad_gives_an_empty_file(tmp_path):
    with Quarantine(tmp_path / "quarantine.jsonl"):
        pass
    assert (tmp_path / "quarantine.jsonl").read_bytes() == b""


@pytest.mark.parametrize(("bad", "total", "passes"), [(1, 100, True), (2, 100, False), (0, 0, True), (1, 1, False)])
def test_one_percent_passes_and_more_does_not(tmp_path, bad, total, passes):
    with Quarantine(tmp_path / "quarantine.jsonl") as quarantine:
        for number in range(bad):
            quarantine.add("a.csv", f"line {number}", "not JSON")
        if passes:
            quarantine.check_share(0.01, total)
            return
        with pytest.raises(DataError, match=f"found: {bad} of {total}: {bad} not JSON.*quarantine_share"):
            quarantine.check_share(0.01, total)


def test_the_file_is_there_after_the_error_it_explains(tmp_path):
    with pytest.raises(DataError), Quarantine(tmp_path / "quarantine.jsonl") as quarantine:
        quarantine.add("a.csv", "line 1", "not JSON")
        quarantine.check_share(0.01, 1)
    assert "not JSON" in (tmp_path / "quarantine.jsonl").read_text()


def test_a_tally_keeps_the_first():
    tally = Tally()
    tally.add("a.csv", "line 3", "broken UTF-8", "\udce9")
    tally.add("a.csv", "line 4", "no label")
    assert tally.first == r"a.csv, line 3: broken UTF-8 '\udce9'"
    assert dict(tally.counts) == {"broken UTF-8": 1, "no label": 1}
