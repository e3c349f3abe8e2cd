"""Chunks: the stretches of a text between white space, and the tokens of each, computed once.

`prepare` rewrites documents so that cutting them at white space gives every chunk, and markers for what else makes
tokens: beginnings of documents and fields, new lines, white space where a rule set keeps it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ulmfit_dist.tokenization.interplay import Interplay
from ulmfit_dist.tokenization.rawtext import FIELD_SEPARATOR
from ulmfit_dist.tokenization.segmenters import SegmentedWords
from ulmfit_dist.tokenization.shapes import Shapes
from ulmfit_dist.tokenization.special import XXNL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ulmfit_dist.tokenization.ruleset import RuleSet
    from ulmfit_dist.tokenization.spacy_words import SpacyWords

# The dictionary of a batch should stay in the processor's cache: 0.5 to 2 million characters are alike, 16 million
# are half as fast.
_BATCH_CHARACTERS = 1_000_000
# Every marker begins with this noncharacter; a document that holds it itself is left to the reference path.
MARK = "\ufdd0"
DOCUMENT, NEW_LINE = MARK + "d", MARK + "n"
_TOKENS, _WHITE_SPACE = MARK + "t", MARK + "w"
# The white space in front of the new line separates anyway. U+0085 is no new line (rules.py).
_RARE_NEW_LINES = "\r\v\f\u2028\u2029"
_NEW_LINES = re.compile(f"[\n{_RARE_NEW_LINES}]\\s*")
_SEPARATOR = f" {NEW_LINE} "
_WHITE_SPACE_RUN = re.compile(r"\s{2,}|[^\S ]|^ ")


class ChunkCutter:
    """Cuts documents into chunks and markers, and chunks into tokens, by one rule set and spaCy or a segmenter."""

    def __init__(self, rules: RuleSet, words: SpacyWords | SegmentedWords) -> None:
        self._rules = rules
        self._chunking = rules.chunking
        self._refused: tuple[str, ...] = (MARK,)
        self._cut: Callable[[Sequence[str]], list[list[str]]]
        self._flags: Callable[[str, list[str]], int]
        if isinstance(words, SegmentedWords):
            self._cut, self._flags = words.cut, words.flags
            return
        self._cut, self._flags = Shapes(words).cut, Interplay(words).flags
        if self._chunking.keeps_white_space:
            # Where white space reaches spaCy, these may match over several markers.
            self._refused = (MARK, *words.spaced_cases)

    def prepare(self, text: str) -> str | None:
        """Rewrite a document so that its white space separates chunks; None when the reference has to tokenize it.

        It has no lone surrogates.
        """
        prepared = [DOCUMENT]
        for part in self._rules.parts(text.split(FIELD_SEPARATOR)):
            if part.marks:
                prepared.append(_TOKENS + MARK.join(part.marks))
            rewritten = part.text
            for rule in self._chunking.field_rules:
                rewritten = rule(rewritten)
            if any(refused in rewritten for refused in self._refused):
                return None
            prepared.append(self._mark_white_space(rewritten))
        return " ".join(prepared)

    def tokens_of_marker(self, marker: str) -> list[str]:
        """Return the tokens that a marker stands for; the empty chunk, where white space ends the text, has none."""
        if marker.startswith(_TOKENS):
            return marker.removeprefix(_TOKENS).split(MARK)
        if marker.startswith(_WHITE_SPACE):
            return self._finish([_decode(marker)])
        return [XXNL] if marker == NEW_LINE else []

    def cut(self, chunks: Sequence[str]) -> list[tuple[list[str], int]]:
        """Return the final tokens and the flags (interplay.py) of each chunk; chunks joined by blanks count as one."""
        if not chunks:
            return []
        text = "\n".join(chunks)
        for rule in self._chunking.chunk_rules:
            text = rule(text)
        rewritten = [chunk.strip(" ") for chunk in text.split("\n")]
        words = self._cut(rewritten)
        flags = map(self._flags, rewritten, words)
        return [(self._finish(cut), flag) for cut, flag in zip(words, flags, strict=True)]

    def _finish(self, tokens: list[str]) -> list[str]:
        for rule in self._chunking.token_rules:
            tokens = rule(tokens)
        return tokens

    def _mark_white_space(self, text: str) -> str:
        if self._chunking.keeps_white_space:
            return _WHITE_SPACE_RUN.sub(_encode, text)
        text = text.strip()
        if any(letter in text for letter in _RARE_NEW_LINES):
            return _NEW_LINES.sub(_SEPARATOR, text)
        if "\n" in text:  # ten times as fast as the pattern
            return _SEPARATOR.join(filter(None, map(str.strip, text.split("\n"))))
        return text


def split(prepared: Iterable[str]) -> pa.LargeStringArray:
    """Cut prepared documents at white space: the chunks, markers included.

    Raises UnicodeEncodeError for lone surrogates.
    """
    joined = pa.array([" ".join(prepared)], pa.large_string())
    # Arrow's white space is Python's, at every code point (tested).
    return pc.utf8_split_whitespace(joined).values


def is_marker(chunk: str) -> bool:
    """Whether a chunk is none of the text's: a marker, or the empty one that white space at an end leaves."""
    return not chunk or chunk[0] == MARK


def batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut documents into runs for `split`."""
    start, characters = 0, 0
    for place, text in enumerate(texts, start=1):
        characters += len(text)
        if characters >= _BATCH_CHARACTERS or place == len(texts):
            yield texts[start:place]
            start, characters = place, 0


def _encode(match: re.Match[str]) -> str:
    run = match[0]
    if run[0] == " " and match.start() > 0:
        run = run[1:]  # spaCy counts the first blank to the token before
    return f" {_WHITE_SPACE}{'.'.join(f'{ord(character):x}' for character in run)} "


def _decode(marker: str) -> str:
    return "".join(chr(int(code, 16)) for code in marker.removeprefix(_WHITE_SPACE).split("."))
