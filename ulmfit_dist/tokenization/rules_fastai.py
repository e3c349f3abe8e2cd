r"""The rule sets of three generations of fast.ai, so that public weights see the tokens that they were trained on.

`fastai-0.7`: scripts of 2018 (`create_toks.py`, `old/fastai/text.py`). `fastai-1`: `text/transform.py` of 1.0.61.
`fastai-2`: `text/core.py` of 2.8.12. What each does is done here too where it loses text: `AT&amp;T` becomes `AT&&T`,
four `no` at the end of a text are not counted, `xxpad` in somebody's text is the special token, 2 marks the capitals of
ASCII only. Equality with the original code is tested (tests/bench/bench_fastai_equality.py). Known deviations:

- spaCy is the installed version, where public weights saw 2.0 to 2.2: some cuts and special cases have changed.
- 0.7 puts a new line before `xbos`; documents begin with `xbos` here. 0.7 marks a single field too, as `xfld 1`.
- 1 marks several fields, as its `mark_fields=True` does; without it, its default, it joins them by a blank.
- 1 takes `xxbos` for a word: a text that starts with `@.@ ` or three `xxbos` gets it glued or counted. Not here.
- 2 in its folder mode reads `\r` back as a new line; this is its mode for tables.
- `xxfake`, which pads 1's and 2's vocabularies to a multiple of 8, is not made: the model pads its matrices itself.
- A numeric character reference of 600 digits or more is read without its leading zeros, for Python's own limit.

Patterns are written so that 10 MB of one word take no more memory than the text (`++` keeps no way back, 1's own takes
400 MB) and a long word in capitals no square time; their matches are those of the originals.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence

from ulmfit_dist.tokenization.restore import Marks
from ulmfit_dist.tokenization.ruleset import Chunking, Part, RuleSet, TextRule, TokenRule
from ulmfit_dist.tokenization.special import XXBOS, XXEOS, XXFLD, XXMAJ, XXPAD, XXREP, XXUNK, XXUP, XXWREP

XBOS, XFLD, T_UP, TK_REP, TK_WREP = "xbos", "xfld", "t_up", "tk_rep", "tk_wrep"
_BEGIN = f"{XXBOS} "
_BLANK = "\u2581"

_LONG_NUMBER = re.compile("(?<=&#)[0-9]{600,}")
# In order; each acts on what the ones before have made. Left of "&" stays in a well-formed reference: a trap kept.
_MENDED = (
    ("#39;", "'"),
    ("amp;", "&"),
    ("#146;", "'"),
    ("nbsp;", " "),
    ("#36;", "$"),
    ("\\n", "\n"),
    ("quot;", "'"),
    ("<br />", "\n"),
    ('\\"', '"'),
)
_MENDED_0_7 = (*_MENDED, ("<unk>", "u_n"), (" @.@ ", "."), (" @-@ ", "-"), ("\\", " \\ "))
_MENDED_1 = (*_MENDED, ("<unk>", XXUNK), (" @.@ ", "."), (" @-@ ", "-"), (" @,@ ", ","), ("\\", " \\ "))
_MENDED_2 = (*_MENDED, ("<unk>", XXUNK), (" @.@ ", "."), (" @-@ ", "-"), ("...", " …"))


def _mend(text: str, replacements: Sequence[tuple[str, str]]) -> str:
    for old, new in replacements:
        text = text.replace(old, new)
    if "&#" in text:  # Python refuses numbers of more digits; eight say as well that it is no code point
        text = _LONG_NUMBER.sub(lambda match: match[0].lstrip("0")[:8] or "0", text)
    return html.unescape(text)


def _fix_html_0_7(text: str) -> str:
    return re.sub(" {2,}", " ", _mend(text, _MENDED_0_7))


def _fix_html_1(text: str) -> str:
    fixed = re.sub(" {2,}", " ", _mend(text, _MENDED_1))
    glued = text.startswith(_BEGIN) and not fixed.startswith(_BEGIN)
    return _BEGIN + fixed.removeprefix(XXBOS) if glued else fixed


def _mark_capitals_0_7(match: re.Match[str]) -> str:
    run = match[0]
    return f" {T_UP} {run.lower()}" if run.isupper() and len(run) > 2 else run.lower()


def _mark_capitals_1(tokens: list[str]) -> list[str]:
    out: list[str] = []
    for token in tokens:
        out += [XXUP, token.lower()] if token.isupper() and len(token) > 1 else [token]
    return out


def _mark_first_capitals_1(tokens: list[str]) -> list[str]:
    out: list[str] = []
    for token in tokens:
        if token[0].isupper() and token[1:].islower():
            out.append(XXMAJ)
        out.append(token.lower())
    return out


def _mark_word_2(mark: str) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        before, word = match.groups()
        return f"{before}{mark} {word.lower()}" if len(word) > 1 else before + word.lower()

    return replace


def _whole(name: str, sentence: str, function: Callable[[str], str]) -> TextRule:
    return TextRule(name, sentence, re.compile(".+", re.DOTALL), lambda match: function(match[0]))


def _space_out(characters: str) -> TextRule:
    sentence = "There are blanks around some characters that words are glued together with."
    return TextRule("space_out", sentence, re.compile(characters), lambda match: f" {match[0]} ")


def _count_characters(mark: str, least: int) -> TextRule:
    sentence = f"A character {least} or more times in a row is {mark}, the count, the character."
    pattern = re.compile(rf"(\S)\1{{{least - 1},}}+")
    return TextRule("count_character_repeats", sentence, pattern, lambda match: f" {mark} {len(match[0])} {match[1]} ")


def _count_words(mark: str) -> TextRule:
    return TextRule(
        "count_word_repeats",
        f"A word and what follows it, four or more times in a row, is {mark}, the count of stretches, the word.",
        re.compile(rf"(?!\A{_BEGIN})(\b\w+\W+)(\1{{3,}}+)"),
        lambda match: f" {mark} {len(match[2].split()) + 1} {match[1]} ",
    )


_SQUEEZE_BLANKS = TextRule("squeeze_blanks", "Blanks in a row are one.", re.compile(" {2,}"), lambda _: " ", needs=" ")
_FIX_HTML = "Damaged HTML and WikiText is mended by plain replacement, then HTML is unescaped."

_RULES_0_7 = (
    _whole("fix_html_0_7", _FIX_HTML, _fix_html_0_7),
    _count_characters(TK_REP, 4),
    _count_words(TK_WREP),
    TextRule(
        "mark_capitals_0_7",
        "A run of letters in capitals, three or more, is lower case after t_up; all else is lower case.",
        re.compile(r"\w+|\W+"),
        _mark_capitals_0_7,
    ),
    _space_out("[/#]"),
    _SQUEEZE_BLANKS,
    TextRule(
        "break_lines_0_7",
        "An HTML line break without a slash is a new line: the rules before have put blanks around slashes.",
        re.compile(r"<\s*br\s*/?>", re.IGNORECASE),
        lambda _: "\n",
        needs="<",
    ),
)
_RULES_1 = (
    _whole("fix_html_1", _FIX_HTML, _fix_html_1),
    _count_characters(XXREP, 4),
    _count_words(XXWREP),
    _space_out("[/#\n]"),
    _SQUEEZE_BLANKS,
)
_TOKEN_RULES_1 = (
    TokenRule(
        "mark_capitals_1",
        "A token in capitals, of two characters or more, is lower case after xxup.",
        _mark_capitals_1,
    ),
    TokenRule(
        "mark_first_capitals_1",
        "A token whose first letter alone is a capital is lower case after xxmaj; all else is lower case.",
        _mark_first_capitals_1,
    ),
)
_RULES_2 = (
    _whole("fix_html_2", _FIX_HTML, lambda text: _mend(text, _MENDED_2)),
    _count_characters(XXREP, 3),
    TextRule(
        "count_word_repeats_2",
        "A word three or more times in a row, white space between, is xxwrep, the count, the word.",
        re.compile(r"(?:\s|^)(\w+)((?:\s+\1(?=\W|$)){2,}+)(\s|\W|$)"),
        lambda match: f" {XXWREP} {len(match[2].split()) + 1} {match[1]} {match[3]}",
    ),
    _space_out(r"[/#\\]"),
    _SQUEEZE_BLANKS,
    TextRule(
        "mark_capitals_2",
        "A word of capitals (of ASCII) and what is no small letter of ASCII is lower case, after xxup if it is longer.",
        re.compile(r"(\s|^)([A-Z][^a-z\s]*+)(?=\s|$)"),
        _mark_word_2(XXUP),
    ),
    TextRule(
        "mark_first_capitals_2",
        "A word whose first letter alone is a capital of ASCII is lower case, after xxmaj if it is longer.",
        re.compile(r"(\s|^)([A-Z][^A-Z\s]*+)(?=\s|$)"),
        _mark_word_2(XXMAJ),
    ),
    _whole("lower_case_2", "The text is lower case, without white space at its ends.", lambda t: t.lower().strip()),
)
_TOKEN_RULES_2 = (
    TokenRule(
        "mark_blanks_2",
        "A blank inside a token is U+2581.",
        lambda tokens: [token.replace(" ", _BLANK) for token in tokens],
    ),
)


def _parts_0_7(fields: Sequence[str]) -> list[Part]:
    return [Part((), f"{XBOS} {_write_marks(fields, XFLD)}")]


def _parts_1(fields: Sequence[str]) -> list[Part]:
    return [Part((), _BEGIN + (fields[0] if len(fields) == 1 else _write_marks(fields, XXFLD)))]


def _parts_2(fields: Sequence[str]) -> list[Part]:
    return [Part((XXBOS,), fields[0] if len(fields) == 1 else _write_marks(fields, XXFLD))]


def _write_marks(fields: Sequence[str], mark: str) -> str:
    return " ".join(f"{mark} {number} {field}" for number, field in enumerate(fields, start=1))


_SPECIALS_1 = (XXUNK, XXPAD, XXBOS, XXEOS, XXFLD, XXMAJ, XXUP, XXREP, XXWREP)
_SPECIALS_2 = (XXUNK, XXPAD, XXBOS, XXEOS, XXFLD, XXREP, XXWREP, XXUP, XXMAJ)

FASTAI_0_7 = RuleSet(
    name="fastai-0.7",
    specials=("_unk_", "_pad_"),
    bos=XBOS,
    fld=XFLD,
    parts=_parts_0_7,
    text_rules=_RULES_0_7,
    token_rules=(),
    restore=Marks(("_pad_", XBOS), XFLD, "", T_UP, TK_REP, TK_WREP).restore,
    chunking=Chunking(_RULES_0_7, keeps_white_space=True),
    spacy_cases=("<eos>", "<bos>", "<unk>"),
    old_limits=True,
)
FASTAI_1 = RuleSet(
    name="fastai-1",
    specials=_SPECIALS_1,
    bos=XXBOS,
    fld=XXFLD,
    parts=_parts_1,
    text_rules=_RULES_1,
    token_rules=_TOKEN_RULES_1,
    restore=Marks((XXPAD, XXBOS, XXEOS), XXFLD, XXMAJ, XXUP, XXREP, XXWREP).restore,
    chunking=Chunking(_RULES_1, keeps_white_space=True, token_rules=_TOKEN_RULES_1),
    spacy_cases=_SPECIALS_1,
)
FASTAI_2 = RuleSet(
    name="fastai-2",
    specials=_SPECIALS_2,
    bos=XXBOS,
    fld=XXFLD,
    parts=_parts_2,
    text_rules=_RULES_2,
    token_rules=_TOKEN_RULES_2,
    restore=Marks((XXPAD, XXBOS, XXEOS), XXFLD, XXMAJ, XXUP, XXREP, XXWREP, blank=_BLANK).restore,
    chunking=Chunking(_RULES_2, keeps_white_space=True, token_rules=_TOKEN_RULES_2),
    spacy_cases=_SPECIALS_2,
)
