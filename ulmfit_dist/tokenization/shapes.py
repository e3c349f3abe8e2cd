r"""Cuts of new chunks by their shape: spaCy is asked once for `Teheran,` and `Bamako,`, which it cannot tell apart.

What spaCy's tokenizer does with a chunk depends on its patterns and its special cases alone. The patterns see a
character only through their sets (`[A-Z]`, `\d`, the literal `k` of `km`): the leaves of their parse trees. Two chunks
with equal characters, but for letters and digits that no leaf of any pattern that could match at all tells apart, are
matched alike at every place, and so are all their parts: without special cases they are cut at the same places. Special
cases are looked up (tokenizer.pyx of spaCy 3.8) with parts of the chunk that begin and end where tokens do: where no
such run of tokens is a special case, none was applied.

So the cut of one chunk whose runs are no special cases is the cut of every chunk of its shape whose runs are none. In
English text nine of ten new chunks have a known shape, at 4 us instead of 17.
"""

from __future__ import annotations

import functools
import re
from itertools import accumulate, chain, combinations, pairwise
from re import _compiler as compiler  # type: ignore[attr-defined]
from re import _constants as code  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ulmfit_dist.tokenization.spacy_words import SpacyWords

_BATCH = 2000  # a shape that is new in a batch is asked for as often as it stands there
_MAX_SHAPES = 500_000  # 300 bytes each
_MAX_TOKENS = 6  # longer cuts are rare and have many runs
_DIGITS = "0123456789"
_BASIC_PLANE = 0x10000


class Shapes:
    """The cuts of one language by shape: `cut` gives what `words.words_of_each` would."""

    def __init__(self, words: SpacyWords) -> None:
        self._words = words
        self._cases = frozenset(words.special_cases)
        # A case that keeps its text whole changes nothing where that text is one token anyway.
        self._cut_cases = frozenset(text for text, tokens in words.special_cases.items() if tokens != [text])
        self._leaves = _Leaves([pattern for pattern in words.patterns().values() if pattern is not None])
        self._contexts: dict[str, _Alike] = {}
        self._alike: dict[int, _Alike] = {}
        self._known = 0

    def cut(self, chunks: Sequence[str]) -> list[list[str]]:
        """Return the tokens of each chunk; chunks are as `SpacyWords.words_of_each` takes them."""
        if not self._leaves.readable:
            return self._words.words_of_each(chunks)
        spaced = iter(self._words.words_of_each([chunk for chunk in chunks if " " in chunk]))
        single = [chunk for chunk in chunks if " " not in chunk]
        batches = (single[start : start + _BATCH] for start in range(0, len(single), _BATCH))
        cut = chain.from_iterable(map(self._cut, batches))
        return [next(spaced if " " in chunk else cut) for chunk in chunks]

    def _cut(self, chunks: Sequence[str]) -> list[list[str]]:
        alike = self._alike_beside("\n".join(chunks).translate(_CONTEXT).split("\n"), chunks)
        shapes = [chunk.translate(table) for chunk, table in zip(chunks, alike, strict=True)]
        cuts = [table.cuts.get(shape) for table, shape in zip(alike, shapes, strict=True)]
        # A chunk that is its own shape teaches nothing: in French nearly all are.
        new = [place for place, cut in enumerate(cuts) if cut is None and shapes[place] != chunks[place]]
        bare = self._words.words_of_each([chunks[place] for place in new], special_cases=False)
        for place, tokens in zip(new, bare, strict=True):
            cuts[place] = self._learn(alike[place], shapes[place], tokens)
        out = list(map(self._apply, cuts, chunks))
        asked = [place for place, tokens in enumerate(out) if not tokens]
        by_cases = self._words.words_of_each([chunks[place] for place in asked])
        for place, tokens in zip(asked, by_cases, strict=True):
            out[place] = tokens
        return out

    def _apply(self, cut: _Cut | None, chunk: str) -> list[str]:
        """Cut a chunk as its shape says; no tokens where a special case may have a say."""
        if cut is None:
            return []
        tokens = [chunk[start:end] for start, end in cut.tokens]
        if not self._cut_cases.isdisjoint(tokens):
            return []
        if cut.runs and not self._cases.isdisjoint([chunk[start:end] for start, end in cut.runs]):
            return []
        return tokens

    def _learn(self, alike: _Alike, shape: str, tokens: list[str]) -> _Cut | None:
        if len(tokens) > _MAX_TOKENS:
            return None
        ends = [0, *accumulate(map(len, tokens))]
        cut = _Cut(tuple(pairwise(ends)), tuple(set(combinations(ends, 2)) - set(pairwise(ends))))
        if self._known < _MAX_SHAPES:
            alike.cuts[shape] = cut
            self._known += 1
        return cut

    def _alike_beside(self, contexts: Sequence[str], chunks: Sequence[str]) -> list[_Alike]:
        """Return which letters and digits are alike in each chunk, by its other characters."""
        # Without letters much less is possible: no address ends in digits.
        keys = [
            _NO_LETTERS + context if len(context) == len(chunk) else context
            for context, chunk in zip(contexts, chunks, strict=True)
        ]
        known = self._contexts
        return [known[key] if key in known else self._look_at(key) for key in keys]

    def _look_at(self, key: str) -> _Alike:
        possible = self._leaves.possible(frozenset(key))
        alike = self._alike.get(possible)
        if alike is None:
            alike = self._alike[possible] = _Alike(self._leaves, possible)
        if len(self._contexts) < _MAX_SHAPES:
            self._contexts[key] = alike
        return alike


class _Cut(NamedTuple):
    """Where the tokens of a shape begin and end, and where the runs of two and more."""

    tokens: tuple[tuple[int, int], ...]
    runs: tuple[tuple[int, int], ...]


class _Alike(dict[int, int]):
    """A table for `str.translate` from a letter or digit to the first one met that the possible patterns see as it.

    `cuts`: the known cuts of shapes, which are translated chunks.
    """

    def __init__(self, leaves: _Leaves, possible: int) -> None:
        super().__init__()
        self._leaves, self._seen_by = leaves, leaves.seen_by(possible)
        self._first: dict[int, int] = {}
        self.cuts: dict[str, _Cut] = {}

    def __missing__(self, character: int) -> int:
        letter = chr(character)
        same = character
        if _is_free(letter):
            same = self._first.setdefault(self._leaves.of(letter) & self._seen_by, character)
        self[character] = same
        return same


class _Context(dict[int, int | None]):
    """A table for `str.translate` that leaves of a chunk what is no letter, and 0 for each digit."""

    def __missing__(self, character: int) -> int | None:
        letter = chr(character)
        self[character] = (ord("0") if letter in _DIGITS else None) if _is_free(letter) else character
        return self[character]


class _Leaves:
    """The sets of characters in the parse trees of some patterns, and which alternatives can match what.

    Sets of leaves, and of alternatives, are integers, one bit each. `readable`: every node of the trees is understood.
    """

    def __init__(self, patterns: Sequence[re.Pattern[str]]) -> None:
        self.readable = True
        self._matches: list[Callable[[str], Any]] = []
        self._bits: dict[str, int] = {}
        self._of: dict[str, int] = {}
        self._alternatives: list[tuple[int, int]] = []  # leaves that must match something, all leaves
        try:
            for pattern in patterns:
                for items in _unfold(list(parser.parse(pattern.pattern, pattern.flags))):
                    required = everything = 0
                    for leaf, must in _walk(items, pattern.flags, must=True):
                        bit = self._bit(*leaf)
                        required, everything = required | bit * must, everything | bit
                    self._alternatives.append((required, everything))
        except _UnreadableError:
            self.readable = False
        self._letters = self._of_any(_letters()) if self.readable else 0

    def of(self, letter: str) -> int:
        """Return the leaves that match a character."""
        found = self._of.get(letter)
        if found is None:
            found = self._of[letter] = self._of_any(letter)
        return found

    def possible(self, others: frozenset[str]) -> int:
        """Return the alternatives that could match anything in a chunk of these characters.

        0 stands for all digits; letters may stand beside them unless `_NO_LETTERS` is one of them.
        """
        matched = 0 if _NO_LETTERS in others else self._letters
        for letter in {*others, *(_DIGITS if "0" in others else ())} - {_NO_LETTERS}:
            matched |= self.of(letter)
        return sum(
            1 << place for place, (required, _) in enumerate(self._alternatives) if required & matched == required
        )

    def seen_by(self, alternatives: int) -> int:
        """Return all leaves of these alternatives."""
        seen = 0
        for place, (_, everything) in enumerate(self._alternatives):
            if alternatives >> place & 1:
                seen |= everything
        return seen

    def _of_any(self, letters: str) -> int:
        return sum(1 << place for place, search in enumerate(self._matches) if search(letters))

    def _bit(self, kind: Any, value: Any, flags: int) -> int:
        """Return the bit of a leaf, equal for equal leaves."""
        name = repr((kind, value, flags))
        if name not in self._bits:
            state = parser.State()
            state.str, state.flags = "", flags
            alone = compiler.compile(parser.SubPattern(state, [(kind, value)]), flags)
            self._bits[name] = 1 << len(self._matches)
            self._matches.append(alone.search)
        return self._bits[name]


class _UnreadableError(Exception):
    """A pattern holds what nobody here knows how to read."""


def _unfold(items: list[Any]) -> Iterator[list[Any]]:
    """Multiply out the first choice at the top: `a(b|c)` is `ab` or `ac`."""
    for place, (kind, value) in enumerate(items):
        if kind is code.BRANCH:
            for branch in value[1]:
                yield [*items[:place], *branch, *items[place + 1 :]]
            return
        if kind is code.SUBPATTERN and value[1] == value[2] == 0:
            yield from _unfold([*items[:place], *value[3], *items[place + 1 :]])
            return
    yield items


def _walk(items: Any, flags: int, *, must: bool) -> Iterator[tuple[tuple[Any, Any, int], bool]]:
    """Yield the leaves (kind, value, flags) of items, and whether the items match only where that leaf does."""
    for kind, value in items:
        if kind in _LEAVES:
            yield (kind, value, flags), must
        elif kind is not code.AT:
            for inner, inner_flags, always in _inside(kind, value, flags):
                yield from _walk(inner, inner_flags, must=must and always)
        elif value not in _ENDS:  # a boundary of words
            yield (code.IN, [(code.CATEGORY, code.CATEGORY_WORD)], flags), False


def _inside(kind: Any, value: Any, flags: int) -> list[tuple[Any, int, bool]]:
    """Return the items inside a node, their flags, and whether the node matches only where they do."""
    if kind is code.SUBPATTERN:
        return [(value[3], (flags | value[1]) & ~value[2], True)]
    if kind is code.BRANCH:
        return [(branch, flags, False) for branch in value[1]]
    if kind in _REPEATS:
        return [(value[2], flags, value[0] > 0)]
    if kind in _ASSERTIONS:
        return [(value[1], flags, kind is code.ASSERT)]
    if kind is code.ATOMIC_GROUP:
        return [(value, flags, True)]
    raise _UnreadableError


def _is_free(letter: str) -> bool:
    return letter in _DIGITS or (letter.isalpha() and ord(letter) < _BASIC_PLANE)


@functools.cache
def _letters() -> str:
    return "".join(filter(str.isalpha, map(chr, range(_BASIC_PLANE))))


_CONTEXT = _Context()
_NO_LETTERS = "\n"  # no chunk holds it
_LEAVES = (code.LITERAL, code.NOT_LITERAL, code.IN, code.ANY)
_REPEATS = (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT)
_ASSERTIONS = (code.ASSERT, code.ASSERT_NOT)
_ENDS = (code.AT_BEGINNING, code.AT_BEGINNING_STRING, code.AT_END, code.AT_END_STRING)
