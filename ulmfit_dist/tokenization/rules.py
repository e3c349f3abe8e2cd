"""Rule sets: named, versioned lists of rules around spaCy's rule tokenizer. A rule is a regex, a function, a sentence.

Text rules rewrite one field's raw text before spaCy cuts it; token rules rewrite its tokens. The rules descend from
fast.ai's (0.7 `Tokenizer.proc_text`, v1 `text/transform.py`, v2 `text/core.py`). `ulmfit-1` differs where those lose
text: HTML is unescaped by the standard, capitals are those of Unicode, repeats at the end of a text count, and a
special token written out in somebody's text is text. A rule set never changes once published; a better one gets a
new name. `Chunking` says which rules look at no more than one chunk of text between white space: memo.py then applies
those once a chunk; that it gives what `before`, spaCy and `after` give on the whole text is tested, never assumed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.entities import html5
from itertools import islice
from typing import Any

from ulmfit_dist.errors import RecipeError
from ulmfit_dist.tokenization.special import (
    SPECIALS,
    XXBOS,
    XXEOS,
    XXFLD,
    XXMAJ,
    XXNL,
    XXPAD,
    XXREP,
    XXUP,
    XXWREP,
)


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
    """A rewrite of a field's tokens; `sentence` says what for."""

    name: str
    sentence: str
    rewrite: Callable[[list[str]], list[str]]

    def __call__(self, tokens: list[str]) -> list[str]:
        """Return the rewritten tokens."""
        return self.rewrite(tokens)


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a rule set acts on a text that is cut at its white space first, chunk by chunk.

    `field_rules` rewrite the whole field before it is cut, `chunk_rules` a chunk, `token_rules` the tokens of a chunk.
    `keeps_white_space`: each run of white space but a single blank is a chunk of its own, as spaCy makes it a token;
    else a run with a new line in it is the chunk `xxnl`, any other only separates. `counts_word_repeats`: the tokens of
    the whole field go through COUNT_WORD_REPEATS.
    """

    field_rules: tuple[TextRule, ...]
    keeps_white_space: bool
    chunk_rules: tuple[TextRule, ...] = ()
    token_rules: tuple[TokenRule, ...] = ()
    counts_word_repeats: bool = False


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one name, in their order, its special tokens, and `restore`, which reads tokens back as text.

    `specials`: in id order, the unknown token first, then padding. `bos` begins a document, `fld` and its number a
    field of several. `chunking`: another reading of the same rules, for speed.
    """

    name: str
    specials: tuple[str, ...]
    bos: str
    fld: str
    text_rules: tuple[TextRule, ...]
    token_rules: tuple[TokenRule, ...]
    restore: Callable[[list[str]], str]
    chunking: Chunking

    def before(self, text: str) -> str:
        """Rewrite one field's raw text for spaCy."""
        for rule in self.text_rules:
            text = rule(text)
        return text if self.chunking.keeps_white_space else text.strip()

    def after(self, tokens: list[str]) -> list[str]:
        """Rewrite one field's spaCy tokens into the final ones."""
        for rule in self.token_rules:
            tokens = rule(tokens)
        return tokens

    def identity(self) -> list[Any]:
        """Return what names this rule set in a fingerprint: its name and every pattern, as JSON values."""
        texts = [[rule.name, rule.pattern.pattern, rule.pattern.flags] for rule in self.text_rules]
        return [self.name, texts, [rule.name for rule in self.token_rules]]


def _unescape(match: re.Match[str]) -> str:
    entity = match[0]
    return html.unescape(entity) if entity[1] == "#" or entity[1:] in html5 else entity


def _blank_or_new_line(match: re.Match[str]) -> str:
    at_an_end = match.start() == 0 or match.end() == len(match.string)
    return f" {XXNL} " if not at_an_end and _NEW_LINE.search(match[0]) else " "


def _count_characters(match: re.Match[str]) -> str:
    return f" {XXREP} {len(match[0])} {match[1]} "


def _count_words(tokens: list[str]) -> list[str]:
    lowered = [token.lower() for token in tokens]
    triples = zip(lowered, islice(lowered, 1, None), islice(lowered, 2, None), strict=False)
    if not any(first == second == third for first, second, third in triples):
        return tokens
    out: list[str] = []
    start = 0
    while start < len(tokens):
        if tokens[start] == XXREP:  # its count and character are not words: `4444 4 4` is no four-fold 4
            out += tokens[start : start + 3]
            start += 3
            continue
        end = start + 1
        while end < len(tokens) and lowered[end] == lowered[start]:
            end += 1
        is_word = any(map(str.isalnum, tokens[start]))
        out += [XXWREP, str(end - start), tokens[start]] if is_word and end - start >= 3 else tokens[start:end]
        start = end
    return out


def _mark_capitals(tokens: list[str]) -> list[str]:
    out: list[str] = []
    for token in tokens:
        lowered = token.lower()
        if lowered != token:
            mark = _capitals_mark(token)
            if mark:
                out.append(mark)
        out.append(lowered)
    return out


def _capitals_mark(token: str) -> str:
    capitals = sum(letter != letter.lower() for letter in token)
    if capitals > 1:
        return XXUP if not any(map(str.islower, token)) else ""
    return XXMAJ if len(token) > 1 and token[0] != token[0].lower() else ""


def _restore(tokens: list[str]) -> str:
    rest = iter([token for token in tokens if token not in (XXPAD, XXBOS, XXEOS)])
    words = [word for token in rest if (word := _read(token, rest))]
    lines = " ".join(words).split("\n")
    return "\n".join(line.strip() for line in lines).strip()


def _read(token: str, rest: Iterator[str]) -> str:
    """Read one token and what its mark governs; marks in an order that no text gives (a model's) still read."""
    if token == XXNL:
        return "\n"
    if token == XXFLD:
        next(rest, "")
        return "\n"
    if token not in (XXREP, XXWREP):
        return _read_word(token, rest)
    number = next(rest, "")
    word = _read_word(next(rest, ""), rest)
    count = min(int(number), _MAX_RESTORED) if number.isdecimal() else 1
    return ("" if token == XXREP else " ").join([word] * count)


def _read_word(token: str, rest: Iterator[str]) -> str:
    if token == XXMAJ:
        word = next(rest, "")
        return word[:1].upper() + word[1:]
    return next(rest, "").upper() if token == XXUP else token


# U+0085 is white space but no new line here: in real text it is the ellipsis of Windows-1252 read as Latin-1 (IMDB).
_NEW_LINE = re.compile("[\n\r\v\f\u2028\u2029]")
_MAX_RESTORED = 1000  # a model may write any number after xxrep
_SPECIAL_NAMES = "|".join(token.removeprefix("xx") for token in SPECIALS)

BREAK_LINES = TextRule(
    "break_lines",
    "An HTML line break is a new line; before unescaping, since `&lt;br&gt;` means the letters.",
    re.compile(r"<br\s*/?>", re.IGNORECASE),
    lambda _: "\n",
    needs="<",
)
UNESCAPE_HTML = TextRule(
    "unescape_html",
    "An HTML character reference that ends in `;` is its character, once; what only looks like one stays.",
    re.compile(r"&(?:#[0-9]{1,16}|#[xX][0-9a-fA-F]{1,16}|[A-Za-z][A-Za-z0-9]{0,31});"),
    _unescape,
    needs="&",
)
PART_LITERALS = TextRule(
    "part_literals",
    "A special token written out in the text, in any case, is two words (`xx bos`), so it is never the special token.",
    re.compile(rf"xx(?={_SPECIAL_NAMES})", re.IGNORECASE),
    lambda match: f"{match[0]} ",
)
MARK_NEW_LINES = TextRule(
    "mark_new_lines",
    "White space with a new line in it, between words, is one xxnl; any other is one blank.",
    re.compile(r"\s{2,}|[^\S ]"),
    _blank_or_new_line,
)
COUNT_CHARACTER_REPEATS = TextRule(
    "count_character_repeats",
    "A character four or more times in a row is xxrep, the count, the character.",
    re.compile(r"(\S)\1{3,}"),
    _count_characters,
)
SQUEEZE_BLANKS = TextRule(
    "squeeze_blanks",
    "Blanks that the rules before have doubled are one.",
    re.compile(r" {2,}"),
    lambda _: " ",
    needs=" ",
)
COUNT_WORD_REPEATS = TokenRule(
    "count_word_repeats",
    "A word three or more times in a row, whatever its case, is xxwrep, the count, the word as it first stood.",
    _count_words,
)
MARK_CAPITALS = TokenRule(
    "mark_capitals",
    "Words become lower case: after xxup if all letters, two or more, were capitals; after xxmaj if the first was.",
    _mark_capitals,
)

ULMFIT_1 = RuleSet(
    name="ulmfit-1",
    specials=SPECIALS,
    bos=XXBOS,
    fld=XXFLD,
    text_rules=(BREAK_LINES, UNESCAPE_HTML, PART_LITERALS, MARK_NEW_LINES, COUNT_CHARACTER_REPEATS, SQUEEZE_BLANKS),
    token_rules=(COUNT_WORD_REPEATS, MARK_CAPITALS),
    restore=_restore,
    chunking=Chunking(
        field_rules=(BREAK_LINES, UNESCAPE_HTML),
        keeps_white_space=False,
        chunk_rules=(PART_LITERALS, COUNT_CHARACTER_REPEATS, SQUEEZE_BLANKS),
        token_rules=(MARK_CAPITALS,),
        counts_word_repeats=True,
    ),
)
RULE_SETS = {ULMFIT_1.name: ULMFIT_1}


def rule_set(name: str) -> RuleSet:
    """Return the rule set of that name; RecipeError naming the known ones."""
    if name not in RULE_SETS:
        raise RecipeError("unknown rule set", found=repr(name), do=f"use one of: {', '.join(sorted(RULE_SETS))}")
    return RULE_SETS[name]
