"""Counts of an ingest: what was decided, and what each split holds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ulmfit_dist.corpus.documents import KEEP

if TYPE_CHECKING:
    from ulmfit_dist.corpus.documents import Document


class SplitCounts:
    """Decisions over all documents; documents, characters, labels and languages of the kept ones by split."""

    def __init__(self, splits: list[str]) -> None:
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.documents: Counter[str] = Counter(dict.fromkeys(splits, 0))
        self.characters: Counter[str] = Counter(dict.fromkeys(splits, 0))
        self.labels: dict[str, Counter[str]] = {split: Counter() for split in splits}
        self.languages: dict[str, Counter[str]] = {split: Counter() for split in splits}

    def add(self, document: Document, split: str) -> None:
        """Count one decided document."""
        self.decisions[document.decision, document.reason] += 1
        if document.decision != KEEP:
            return
        self.documents[split] += 1
        self.characters[split] += len(document.text)
        if document.label is not None:
            self.labels[split][document.label] += 1
        if document.lang:
            self.languages[split][document.lang] += 1

    def snapshot(self) -> tuple[int, int]:
        """Rows and kept documents so far."""
        return self.decisions.total(), self.documents.total()

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


def _filled(by_split: dict[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {split: dict(sorted(counts.items())) for split, counts in by_split.items() if counts}
