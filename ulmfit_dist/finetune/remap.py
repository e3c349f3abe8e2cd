"""Carry a language model over to another vocabulary (fast.ai 2018, `load_pretrained` and its successors).

A token that the old vocabulary knows keeps its row; every other token starts at the mean of the old rows. The decoder
is tied to the embedding, so its rows move with it, and its bias moves by the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the new vocabulary the old one knew, in rows and in running tokens of the task's training text."""

    rows: int
    rows_hit: int
    tokens: int
    tokens_hit: int

    def as_json(self) -> dict[str, float | int]:
        """Return the counts and both shares (1.0 where there is nothing to cover)."""
        return {
            "rows": self.rows,
            "rows_hit": self.rows_hit,
            "tokens": self.tokens,
            "tokens_hit": self.tokens_hit,
            "row_share": self.rows_hit / self.rows if self.rows else 1.0,
            "token_share": self.tokens_hit / self.tokens if self.tokens else 1.0,
        }


def remap_rows(rows: Tensor, old: Sequence[str], new: Sequence[str]) -> Tensor:
    """Return rows for the new vocabulary: the row of the same string, else the mean of all old rows.

    rows: (V_old, ...) in the order of `old`; returns (V_new, ...) in the order of `new`.
    """
    index = {token: i for i, token in enumerate(old)}
    with_mean = torch.cat([rows, rows.mean(dim=0, keepdim=True)])
    source = torch.tensor([index.get(token, len(old)) for token in new], dtype=torch.long, device=rows.device)
    return with_mean[source]


def coverage(old: Sequence[str], new: Sequence[str], counts: Mapping[str, int]) -> Coverage:
    """Count the new rows that the old vocabulary had, and the running tokens that they stand for."""
    known = set(old)
    hits = [token for token in new if token in known]
    return Coverage(
        rows=len(new),
        rows_hit=len(hits),
        tokens=sum(counts.values()),
        tokens_hit=sum(counts.get(token, 0) for token in hits),
    )
