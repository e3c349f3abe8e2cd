"""Counts: dropped documents count as decisions only."""

from __future__ import annotations

from collections import Counter

from ulmfit_dist.crawl.cleaning import CleanReceipt
from ulmfit_dist.crawl.counts import SplitCounts, crawl_summary
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


def test_what_became_of_pages():
    receipts = [
        CleanReceipt("b", {}, {"masked_email": 1}, {"en": {"too_short": 2}, "und": {"undetermined": 1}}),
        CleanReceipt("b", {}, {"masked_email": 2, "boilerplate_lines": 5}, {"en": {"too_short": 1}}),
    ]
    assert crawl_summary(receipts, {"en": Counter({"": 5, "max_symbols": 15})}, {"utf-8": 9, "cp949": 1}) == {
        "languages": {"en": {"": 5, "max_symbols": 15, "too_short": 3}, "und": {"undetermined": 1}},
        "flagged": {"en": {"max_symbols": 0.75}},
        "counts": {"boilerplate_lines": 5, "masked_email": 3},
        "charsets": {"cp949": 1, "utf-8": 9},
    }
