"""What a rule set is: named, versioned rules around spaCy's rule tokenizer. A rule is a regex, a function, a sentence.

Text rules rewrite raw text before spaCy cuts it; token rules rewrite its tokens. A rule set never changes once
published; a better one gets a new name. `Chunking` says which rules look at no more than one chunk of text between
white space: memo.py then applies those once a chunk; that it gives what `before`, spaCy and `after` give on the whole
text is tested, never assumed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class TextRule:
    """A rewrite of raw text: every match of `pattern` becomes `replace(match)`; `sentence` says what for.

    `needs`: a character that every match holds; looking for one is a hundred times faster than for a pattern.
    """

    name: str
    sentence: str
    pattern: re.Pattern[str]
    replace: Callable[[re.Match[str]], str]
    needs: str = ""

    def __call__(self, text: str) -> str:
        """Return the text with every match replaced."""
        return self.pattern.sub(self.replace, text) if self.needs in text else text


@dataclass(frozen=True, slots=True)
class TokenRule:
    """A rewrite of tokens; `sentence` says what for."""

    name: str
    sentence: str
    rewrite: Callable[[list[str]], list[str]]

    def __call__(self, tokens: list[str]) -> list[str]:
        """Return the rewritten tokens."""
        return self.rewrite(tokens)


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a rule set acts on a text that is cut at its white space first, chunk by chunk.

    `field_rules` rewrite the whole text before it is cut, `chunk_rules` a chunk, `token_rules` the tokens of a chunk.
    `keeps_white_space`: each run of white space but a single blank is a chunk of its own, as spaCy makes it a token;
    else a run with a new line in it is the chunk `xxnl`, any other only separates. `counts_word_repeats`: the tokens of
    the whole text go through COUNT_WORD_REPEATS.
    """

    field_rules: tuple[TextRule, ...]
    keeps_white_space: bool
    chunk_rules: tuple[TextRule, ...] = ()
    token_rules: tuple[TokenRule, ...] = ()
    counts_word_repeats: bool = False


class Part(NamedTuple):
    """A stretch of a document that goes through the rules and spaCy in one piece.

    `marks` are final tokens that stand before those of `text`.
    """

    marks: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one name, in their order, its special tokens, and `restore`, which reads tokens back as text.

    `specials`: in id order, the unknown token first, then padding. `bos` begins a document, `fld` and its number a
    field. `parts` lays out the fields of a document and where their marks stand: as tokens, or written into the text.
    `spacy_cases`: strings that spaCy is told to keep whole. `old_limits`: max_vocab counts words without the special
    tokens, and a word of the vocabulary occurs more than min_freq times, not as often. `chunking`: another reading of
    the same rules, for speed.
    """

    name: str
    specials: tuple[str, ...]
    bos: str
    fld: str
    parts: Callable[[Sequence[str]], list[Part]]
    text_rules: tuple[TextRule, ...]
    token_rules: tuple[TokenRule, ...]
    restore: Callable[[list[str]], str]
    chunking: Chunking
    spacy_cases: tuple[str, ...] = ()
    old_limits: bool = False

    def before(self, text: str) -> str:
        """Rewrite raw text for spaCy."""
        for rule in self.text_rules:
            text = rule(text)
        return text if self.chunking.keeps_white_space else text.strip()

    def after(self, tokens: list[str]) -> list[str]:
        """Rewrite spaCy's tokens into the final ones."""
        for rule in self.token_rules:
            tokens = rule(tokens)
        return tokens

    def identity(self) -> list[Any]:
        """Return what names this rule set in a fingerprint: its name and every pattern, as JSON values."""
        texts = [[rule.name, rule.pattern.pattern, rule.pattern.flags] for rule in self.text_rules]
        return [self.name, texts, [rule.name for rule in self.token_rules]]
