"""Counts: dropped documents count as decisions only."""

from __future__ import annotations

from ulmfit_dist.corpus.documents import Document
from ulmfit_dist.crawl.counts import SplitCounts


def test_counts():
    counts = SplitCounts(["train", "valid"])
    counts.add(Document("1", "four", label="a", lang="en"), "train")
    counts.add(Document("2", "six..."), "train")
    counts.add(Document("3", "x", decision="drop", reason="too_short", label="b", lang="de"), "valid")
    assert counts.snapshot() == (3, 2)
    assert counts.summary() == {
        "decisions": {"drop": {"too_short": 1}, "keep": {"": 2}},
        "documents": {"train": 2, "valid": 0},
        "characters": {"train": 10, "valid": 0},
        "labels": {"train": {"a": 1}},
        "languages": {"train": {"en": 1}},
    }
