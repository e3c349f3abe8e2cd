"""Counts: dropped documents count as decisions only."""

from __future__ import annotations

from ulmfit_dist.crawl.counts import SplitCounts
from ulmfit_dist.crawl.parts import PartReceipt


def part(decisions, characters, labels=None, languages=None):
    groups = [{"characters": number} for number in characters]
    return PartReceipt("basis", {"row_groups": groups}, decisions, labels or {}, languages or {})


def test_counts():
    counts = SplitCounts(["train", "valid"])
    counts.add(part({"keep": 2}, [4, 6], {"a": 1}, {"en": 1}), "train")
    counts.add(part({"keep": 1, "drop:empty": 2}, [5], {"a": 1, "b": 1}), "train")
    counts.add(part({"drop:too_short": 1}, [0]), "valid")
    assert counts.summary() == {
        "decisions": {"drop": {"empty": 2, "too_short": 1}, "keep": {"": 3}},
        "documents": {"train": 3, "valid": 0},
        "characters": {"train": 15, "valid": 0},
        "labels": {"train": {"a": 2, "b": 1}},
        "languages": {"train": {"en": 1}},
    }
