"""Which chunks may not be cut alone: spaCy's special cases can reach over a blank.

spaCy (3.8, tokenizer.pyx) cuts each stretch of text between white space by itself, then looks for the token sequences
of its special cases in the whole document, blanks ignored. A match over a blank changes tokens in two ways only: its
text, blanks included, is itself a special case (`в т.ч.`); or it is none, but it is longer than a true special case
that shares a token with it, which then is not applied (`Elvis' ''Love` keeps ' ' ', where '' alone is one token).

So the next chunk matters only where a chunk ends with the beginning of a sequence and the next one starts with the rest
or a part of it, and one of the two shows a special case in its own cut, or begins a case with a blank in it. The tests
say yes too often rather than too seldom: chunks said to be linked are cut together.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ulmfit_dist.tokenization.spacy_words import SpacyWords

ENDS, STARTS, TOUCHY = 1, 2, 4
"""Flags of a chunk: it ends with the beginning of a sequence; it starts with a later part; its own cut is at stake."""


class Interplay:
    """The special cases of a language that can reach over a blank."""

    def __init__(self, words: SpacyWords) -> None:
        cases = words.special_cases
        # White space alone is a case too in spaCy, of one token that is cut no other way.
        parts = [text.split() for text in cases if not text.isspace() and words.reach_over_tokens(text)]
        tokens = iter(words.words_of_each([part for case in parts for part in case], special_cases=False))
        heads, tails = set(), set()
        for case in parts:
            sequence = [token for _ in case for token in next(tokens)]
            for cut in range(1, len(sequence)):
                heads.add("".join(sequence[:cut]))
                tails.add("".join(sequence[cut:]))
            heads.update(case[:-1])
            tails.update(case[1:])
        self._heads, self._tails = frozenset(heads), frozenset(tails)
        # A chunk may also be the middle of a sequence: `) - :*` holds `)-:`.
        self._pieces = frozenset(piece for tail in tails for piece in accumulate(tail))
        self._middles = frozenset(head[start:] for head in heads for start in range(len(head)))
        self._first_parts = frozenset(case[0] for case in parts if len(case) > 1)
        self._head_ends, self._tail_starts = tuple(heads), tuple(tails)
        self._cases: dict[str, list[list[str]]] = defaultdict(list)
        for cut_case in cases.values():
            self._cases[cut_case[0]].append(cut_case)

    def flags(self, chunk: str, tokens: list[str]) -> int:
        """Return the flags of a chunk (it may hold single blanks) that spaCy cuts into these tokens."""
        shows_case = not self._cases.keys().isdisjoint(tokens) and self._shows_case(tokens)
        # What ends with the beginning of a sequence has a last token that is a piece of one, and so at its start: for
        # half of all chunks nothing is left to look at.
        may_end, may_start = tokens[-1] in self._middles, tokens[0] in self._pieces
        if not (may_end or may_start or shows_case):
            return 0
        first, _, rest = chunk.partition(" ")
        begins_case = False
        if shows_case:
            # What stood there when spaCy looked for sequences may have been other tokens: only the text is sure.
            ends, starts = chunk.endswith(self._head_ends), first.startswith(self._tail_starts)
        else:
            ends = may_end and any(tail in self._heads for tail in _joined_from_the_end(tokens))
            starts = may_start and any(head in self._tails for head in accumulate(tokens))
            begins_case = ends and any(tail in self._first_parts for tail in _joined_from_the_end(tokens))
        starts = starts or first in self._pieces
        ends = ends or (chunk.rpartition(" ")[2] if rest else chunk) in self._middles
        touchy = begins_case or (shows_case and (ends or starts))
        return ENDS * ends | STARTS * starts | TOUCHY * touchy

    def _shows_case(self, tokens: list[str]) -> bool:
        """Whether the tokens of some special case are among these: they are wherever one was applied."""
        for place, token in enumerate(tokens):
            if token in self._cases and any(tokens[place : place + len(c)] == c for c in self._cases[token]):
                return True
        return False


def _joined_from_the_end(tokens: list[str]) -> Iterator[str]:
    return accumulate(reversed(tokens), lambda tail, token: token + tail)


def linked_runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return the runs [start, end) of two or more chunks that have to be cut together; `flags` in the text's order."""
    linked = (flags[:-1] & ENDS).astype(bool) & (flags[1:] & STARTS).astype(bool)
    at_stake = np.flatnonzero(linked & ((flags[:-1] | flags[1:]) & TOUCHY).astype(bool))
    runs: list[tuple[int, int]] = []
    for place in at_stake.tolist():
        if runs and place < runs[-1][1]:
            continue
        start, end = place, place + 1
        while start and linked[start - 1]:
            start -= 1
        while end < len(linked) and linked[end]:
            end += 1
        runs.append((start, end + 1))
    return runs
