"""Text from outside as it may stand on a page: nothing invisible, nothing that turns the lines around it."""

from __future__ import annotations

import re

# Controls but for line ends and tabs, the marks that reorder lines (UAX 9), line separators, lone surrogates, the byte
# order mark and the tags of plane 14. Joiners stay: Persian and Hindi are written with them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\U000e0000-\U000e007f]"
)
_BLANKS = re.compile(r"[ \t]+")
_LINE_END = " ⏎ "


def shown(text: str) -> str:
    """Return a text on one line: line ends as ⏎, what cannot be seen as its number, ⟨U+202E⟩."""
    lines = [_BLANKS.sub(" ", line).strip() for line in text.split("\n")]
    return _INVISIBLE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", _LINE_END.join(line for line in lines if line))
