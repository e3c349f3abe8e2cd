"""One form for every text: NFC, plain line ends, and no character that steers instead of being read."""

from __future__ import annotations

import re
import unicodedata

# Every pattern begins with a class of listed characters or with a literal, which `re` searches for by a table, three to
# five times faster than by a lookahead, a category, an alternative or an optional character.
_LINE_ENDS = ("\r\n", "\r", "\x85", "\u2028", "\u2029")
# C0 and C1 controls but tab, new line and the separator of fields (U+001F); BOM; lone surrogates; bidi embeddings,
# overrides and isolates, which make text read otherwise than it is stored. ZWJ and ZWNJ stay: fa, hi, ml and emoji need
# them.
_STEERING = re.compile("[\0-\x08\x0b\x0c\x0e-\x1e\x7f-\x9f\ufeff\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
# White space but the space, the new line and the separator.
_OTHER_BLANK = re.compile("[\t\x0b-\r\x1c-\x1e\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_BLANKS = re.compile("  +")
_EMPTY_LINES = re.compile("\n\n\n+")


def normalise(text: str) -> str:
    """Return the text in NFC, lines ended by new lines, without controls, bidi overrides and lone surrogates."""
    for end in _LINE_ENDS:
        text = text.replace(end, "\n")
    return unicodedata.normalize("NFC", _STEERING.sub("", text)).strip(" \t\n")


def squeeze(text: str) -> str:
    """Return the text with runs of blanks as one space, none at line ends, and at most one empty line in a row."""
    lines = _BLANKS.sub(" ", _OTHER_BLANK.sub(" ", text)).replace(" \n", "\n").replace("\n ", "\n")
    return _EMPTY_LINES.sub("\n\n", lines).strip()
