"""A raw document: one string, whose text fields (title, body, ...) are held apart by a character of their own.

U+001F is what ASCII names "unit separator". A string without it is a document of one field, whatever it says;
so a literal `xxfld 2` in somebody's text can never be taken for a field.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELD_SEPARATOR = "\x1f"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def join_fields(fields: Sequence[str]) -> str:
    """Make one raw document from its text fields; a separator inside a field becomes a space.

    One field gives the text itself; an empty field keeps its place, since fields are numbered by position.
    """
    return FIELD_SEPARATOR.join(field.replace(FIELD_SEPARATOR, " ") for field in fields)


def split_fields(text: str) -> list[str]:
    """Return the fields of a raw document: at least one, perhaps empty; lone surrogates are replaced."""
    return replace_lone_surrogates(text).split(FIELD_SEPARATOR)


def replace_lone_surrogates(text: str) -> str:
    r"""Return the text with U+FFFD for each lone surrogate (broken bytes of a command line, JSON's \ud800).

    Neither spaCy nor SentencePiece nor Arrow takes them.
    """
    return _LONE_SURROGATE.sub("\ufffd", text)
