"""One form for every text: NFC, plain line ends, and no character that steers instead of being read."""

from __future__ import annotations

import re
import unicodedata

from ulmfit_dist.tokenization.rawtext import FIELD_SEPARATOR

_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
# C0 and C1 controls but tab, new line and the separator of fields; BOM; lone surrogates; bidi embeddings, overrides and
# isolates, which make text read otherwise than it is stored. ZWJ and ZWNJ stay: fa, hi, ml and emoji need them.
_STEERING = re.compile(
    f"(?!{FIELD_SEPARATOR})[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ud800-\udfff\u202a-\u202e\u2066-\u2069]"
)
_BLANKS = re.compile(r"[^\S\n\x1f]+")
_BLANKS_AT_ENDS = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")


def normalise(text: str) -> str:
    """Return the text in NFC, lines ended by new lines, without controls, bidi overrides and lone surrogates."""
    return unicodedata.normalize("NFC", _STEERING.sub("", _LINE_ENDS.sub("\n", text))).strip(" \t\n")


def squeeze(text: str) -> str:
    """Return the text with runs of blanks as one space, none at line ends, and at most one empty line in a row."""
    lines = _BLANKS_AT_ENDS.sub("\n", _BLANKS.sub(" ", text))
    return _EMPTY_LINES.sub("\n\n", lines).strip()
