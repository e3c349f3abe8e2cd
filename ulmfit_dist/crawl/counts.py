"""Counts of an ingest: what was decided, and what each split holds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ulmfit_dist.corpus.documents import KEEP
from ulmfit_dist.crawl.rules import flagged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ulmfit_dist.crawl.cleaning import CleanReceipt
    from ulmfit_dist.crawl.parts import PartReceipt


class SplitCounts:
    """Decisions over all documents; documents, characters, labels and languages of the kept ones by split."""

    def __init__(self, splits: list[str]) -> None:
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.documents: Counter[str] = Counter(dict.fromkeys(splits, 0))
        self.characters: Counter[str] = Counter(dict.fromkeys(splits, 0))
        self.labels: dict[str, Counter[str]] = {split: Counter() for split in splits}
        self.languages: dict[str, Counter[str]] = {split: Counter() for split in splits}

    def add(self, part: PartReceipt, split: str) -> None:
        """Count the documents of one part."""
        for name, count in part.decisions.items():
            decision, _, reason = name.partition(":")
            self.decisions[decision, reason] += count
        self.documents[split] += part.decisions.get(KEEP, 0)
        self.characters[split] += sum(group["characters"] for group in part.description["row_groups"])
        self.labels[split].update(part.labels)
        self.languages[split].update(part.languages)

    def by_reason(self) -> dict[str, dict[str, int]]:
        """{decision: {reason: n}}, sorted; the reason of kept documents is ""."""
        out: dict[str, dict[str, int]] = {}
        for (decision, reason), count in sorted(self.decisions.items()):
            out.setdefault(decision, {})[reason] = count
        return out

    def summary(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "decisions": self.by_reason(),
            "documents": dict(self.documents),
            "characters": dict(self.characters),
            "labels": _filled(self.labels),
            "languages": _filled(self.languages),
        }


def crawl_summary(
    receipts: Sequence[CleanReceipt], judged: Mapping[str, Counter[str]], charsets: Mapping[str, int]
) -> dict[str, Any]:
    """Return what became of the pages of crawls, as plain JSON values.

    {languages: {language: {reason, "" for kept: documents}}, flagged: {language: {rule: share}} (`rules.flagged`),
    counts: {boilerplate_lines, boilerplate_characters, masked_<kind>, asks_noai, asks_noindex: n}, charsets: {codec:
    pages}}. judged: of the documents that were kept when they were cleaned.
    """
    languages = {language: Counter(reasons) for language, reasons in judged.items()}
    counts: Counter[str] = Counter()
    for receipt in receipts:
        counts.update(receipt.counts)
        for language, reasons in receipt.dropped.items():
            languages.setdefault(language, Counter()).update(reasons)
    plain = {language: dict(sorted(reasons.items())) for language, reasons in sorted(languages.items())}
    return {
        "languages": plain,
        "flagged": flagged(plain),
        "counts": dict(sorted(counts.items())),
        "charsets": dict(sorted(charsets.items())),
    }


def _filled(by_split: dict[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {split: dict(sorted(counts.items())) for split, counts in by_split.items() if counts}
