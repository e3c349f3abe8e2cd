"""The rule sets by name, and the rules of `ulmfit-1`, the default.

They descend from fast.ai's (rules_fastai.py) and differ where those lose text: HTML is unescaped by the standard,
capitals are those of Unicode, repeats at the end of a text count, and a special token written out in somebody's text
is text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from html.entities import html5
from itertools import islice

from ulmfit_dist.errors import RecipeError
from ulmfit_dist.tokenization.restore import Marks
from ulmfit_dist.tokenization.rules_fastai import FASTAI_0_7, FASTAI_1, FASTAI_2
from ulmfit_dist.tokenization.ruleset import Chunking, Part, RuleSet, TextRule, TokenRule
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
            # A first capital alone, by far the most common case, is seen without looking at each letter.
            plain = token.isascii() and token[1:] == lowered[1:] and len(token) > 1
            mark = XXMAJ if plain else _capitals_mark(token)
            if mark:
                out.append(mark)
        out.append(lowered)
    return out


def _capitals_mark(token: str) -> str:
    capitals = sum(letter != letter.lower() for letter in token)
    if capitals > 1:
        return XXUP if not any(map(str.islower, token)) else ""
    return XXMAJ if len(token) > 1 and token[0] != token[0].lower() else ""


def _mark_fields(fields: Sequence[str]) -> list[Part]:
    if len(fields) == 1:
        return [Part((XXBOS,), fields[0])]
    marks: list[tuple[str, ...]] = [(XXFLD, str(number)) for number in range(1, len(fields) + 1)]
    marks[0] = (XXBOS, *marks[0])
    return [Part(mark, field) for mark, field in zip(marks, fields, strict=True)]


# U+0085 is white space but no new line here: in real text it is the ellipsis of Windows-1252 read as Latin-1 (IMDB).
_NEW_LINE = re.compile("[\n\r\v\f\u2028\u2029]")
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
    re.compile(r"(\S)\1{3,}+"),  # without the last plus, 10 MB of one character take 800 MB
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
    parts=_mark_fields,
    text_rules=(BREAK_LINES, UNESCAPE_HTML, PART_LITERALS, MARK_NEW_LINES, COUNT_CHARACTER_REPEATS, SQUEEZE_BLANKS),
    token_rules=(COUNT_WORD_REPEATS, MARK_CAPITALS),
    restore=Marks((XXPAD, XXBOS, XXEOS), XXFLD, XXMAJ, XXUP, XXREP, XXWREP, XXNL).restore,
    chunking=Chunking(
        field_rules=(BREAK_LINES, UNESCAPE_HTML),
        keeps_white_space=False,
        chunk_rules=(PART_LITERALS, COUNT_CHARACTER_REPEATS, SQUEEZE_BLANKS),
        token_rules=(MARK_CAPITALS,),
        counts_word_repeats=True,
    ),
)
RULE_SETS = {rules.name: rules for rules in (ULMFIT_1, FASTAI_0_7, FASTAI_1, FASTAI_2)}


def rule_set(name: str) -> RuleSet:
    """Return the rule set of that name; RecipeError naming the known ones."""
    if name not in RULE_SETS:
        raise RecipeError("unknown rule set", found=repr(name), do=f"use one of: {', '.join(sorted(RULE_SETS))}")
    return RULE_SETS[name]
