"""Records: one row, line or file of a source, before it is a document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.formats import CLASSES_NAME
from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

# A record over this is not a document but a broken quote or a missing line end; it bounds memory.
MAX_RECORD_CHARACTERS = 1 << 24
_BROKEN = re.compile("[\ud800-\udfff]")


class SourceColumns(Settings):
    """Where a table's text, label and record key stand.

    `layout` "2018" is fast.ai's CSV without a header: label first, then text fields; "named" has a header; "auto" takes
    a first row that holds every text column for a header, and one that starts with an integer for 2018.
    Several text columns (or 2018 fields) are the fields of one raw document (tokenization/rawtext.py).
    `id`, `url`, `date` and `label` are used where the column exists; without an id the record's number is its key.
    """

    text: str | list[str] = "text"
    label: str = "label"
    id: str = "id"
    url: str = "url"
    date: str = "date"
    layout: Literal["auto", "named", "2018"] = "auto"

    @field_validator("text")
    @classmethod
    def _some_column(cls, value: str | list[str]) -> str | list[str]:
        if not value or not all(value):
            msg = "name at least one text column"
            raise ValueError(msg)
        return value

    @property
    def texts(self) -> list[str]:
        """The text columns as a list."""
        return [self.text] if isinstance(self.text, str) else list(self.text)


@dataclass(frozen=True, slots=True)
class Record:
    """What a source says of one document; `position` names it to a person, `key` is its stable name in the source."""

    key: str
    position: str
    text: str
    label: str | None = None
    url: str = ""
    date: str = ""


class BadRecord(Exception):  # noqa: N818  # it travels a few lines, to the quarantine
    """A record that cannot be a document: (reason, the start of it)."""

    def __init__(self, reason: str, sample: str = "") -> None:
        super().__init__(reason)
        self.reason, self.sample = reason, sample


def check_unicode(text: str) -> str:
    """Return the text; BadRecord when it holds surrogates, which is what broken UTF-8 was decoded to."""
    if _BROKEN.search(text):
        raise BadRecord("broken UTF-8", text)
    return text


def read_classes(path: Path) -> list[str] | None:
    """Return the label names of classes.txt beside a file, in order; None when there is none."""
    beside = path.parent / CLASSES_NAME
    if not beside.is_file():
        return None
    try:
        return [line.strip() for line in beside.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{beside} is not UTF-8 text", found=str(error), do="save it as UTF-8") from error
