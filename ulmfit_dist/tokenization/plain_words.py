"""Chunks that are plain words, whose tokens need no spaCy: letters a to z, perhaps with one mark of punctuation behind.

Nearly half of the new chunks of English text. That spaCy leaves such letters whole, and cuts off such a mark and
nothing else, is not assumed: it follows from the parse trees of the language's own patterns, read once. A pattern that
could match anything else in such a chunk, or that cannot be read, takes the shortcut away, and spaCy cuts as ever.
"""

from __future__ import annotations

import re
import string
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ulmfit_dist.tokenization.spacy_words import SpacyWords

_LETTERS = frozenset(string.ascii_letters)
_MARKS = ",;:!?)\"'"


class PlainWords:
    """What is plain in one language: `tokens` gives the tokens of a plain chunk, None for any other."""

    def __init__(self, words: SpacyWords) -> None:
        self._cases = frozenset(words.special_cases)
        proven = _proven_marks(words.patterns())
        marks = [re.escape(mark) for mark in proven or "" if mark not in self._cases]
        # `(?!)` matches nothing.
        pattern = "(?!)()" if proven is None else f"([A-Za-z]+)({'|'.join(marks)}|)"
        self._match = re.compile(pattern).fullmatch

    def tokens(self, chunk: str) -> list[str] | None:
        """Return the tokens of a chunk as spaCy would, if that is certain."""
        match = self._match(chunk)
        if match is None or chunk in self._cases or match[1] in self._cases:
            return None
        return [match[1], match[2]] if match[2] else [match[1]]


def _proven_marks(patterns: dict[str, re.Pattern[str] | None]) -> str | None:
    """Return the marks that are cut off a word as one token; None if not even letters alone stay whole."""
    names = ("prefix_search", "suffix_search", "infix_finditer")
    prefix, suffix, infix = (_alternatives(patterns[name]) for name in names)
    whole = patterns["token_match"]
    if any(_possible(one, _LETTERS) for one in (*prefix, *suffix, *infix)) or whole is not None:
        return None
    return "".join(mark for mark in _MARKS if _is_cut_off(mark, prefix, suffix))


def _is_cut_off(mark: str, prefix: Sequence[Any], suffix: Sequence[Any]) -> bool:
    """Whether in letters and one such mark at their end the prefixes match nothing, and the suffixes just the mark."""
    alphabet = _LETTERS | {mark}
    ends = [one for one in suffix if _possible(one, alphabet)]
    begins = [one for one in prefix if _possible(one, alphabet)]
    only_mark = all(_is_one_of(one, mark, alphabet, code.AT_END) for one in ends)
    return len(ends) > 0 and only_mark and all(_is_one_of(one, mark, alphabet, code.AT_BEGINNING) for one in begins)


def _alternatives(pattern: re.Pattern[str] | None) -> list[list[Any]]:
    """Return the alternatives of a pattern, each a list of parsed items."""
    return [] if pattern is None else list(_unfold(list(parser.parse(pattern.pattern, pattern.flags))))


def _unfold(items: list[Any]) -> Iterator[list[Any]]:
    """Multiply out choices at the top: `a(b|c)` is `ab` or `ac`."""
    for place, (kind, value) in enumerate(items):
        if kind is code.BRANCH:
            for branch in value[1]:
                yield from _unfold([*items[:place], *branch, *items[place + 1 :]])
            return
        if kind is code.SUBPATTERN and value[1] == value[2] == 0:
            yield from _unfold([*items[:place], *value[3], *items[place + 1 :]])
            return
    yield items


def _is_one_of(items: list[Any], mark: str, alphabet: frozenset[str], anchor: Any) -> bool:
    """Whether an alternative is the mark at this end of the text and, over the alphabet, no other character."""
    kept = [item for item in items if item[0] is not code.AT]
    anchors = [item for item in items if item[0] is code.AT]
    if len(kept) != 1 or anchors != [(code.AT, anchor)]:
        return False
    return {letter for letter in alphabet if _possible(kept, frozenset(letter))} == {mark} and kept[0][0] in _ONE


def _possible(items: Any, alphabet: frozenset[str]) -> bool:
    """Whether items could match in a text of these characters only; True whenever that is not clear."""
    return all(_item_possible(kind, value, alphabet) for kind, value in items)


def _item_possible(kind: Any, value: Any, alphabet: frozenset[str]) -> bool:
    if kind in (code.LITERAL, code.NOT_LITERAL):
        return alphabet != {chr(value)} if kind is code.NOT_LITERAL else chr(value) in alphabet
    if kind is code.IN:
        return any(_in_set(letter, value) for letter in alphabet)
    if kind is code.BRANCH:
        return any(_possible(branch, alphabet) for branch in value[1])
    if kind in _REPEATS:
        return value[0] == 0 or _possible(value[2], alphabet)
    # What must not follow, ends of lines and all else: it may match.
    return kind not in _GROUPS or _possible(value[_GROUPS[kind]], alphabet)


def _in_set(letter: str, members: Any) -> bool:
    negated = bool(members[0][0] is code.NEGATE)
    inside = any(_is_member(letter, kind, value) for kind, value in members if kind is not code.NEGATE)
    return negated is not inside


def _is_member(letter: str, kind: Any, value: Any) -> bool:
    if kind is code.LITERAL:
        return bool(ord(letter) == value)
    if kind is code.RANGE:
        return bool(value[0] <= ord(letter) <= value[1])
    return re.fullmatch(_CATEGORIES[value], letter) is not None


_ONE = (code.LITERAL, code.IN)
_GROUPS = {code.SUBPATTERN: 3, code.ASSERT: 1}  # where their content stands
_REPEATS = (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT)
_CATEGORIES = {
    code.CATEGORY_DIGIT: r"\d",
    code.CATEGORY_NOT_DIGIT: r"\D",
    code.CATEGORY_SPACE: r"\s",
    code.CATEGORY_NOT_SPACE: r"\S",
    code.CATEGORY_WORD: r"\w",
    code.CATEGORY_NOT_WORD: r"\W",
}
