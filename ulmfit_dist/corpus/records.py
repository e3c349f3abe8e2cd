"""Records: one row, line or file of a source, before it is a document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.formats import CLASSES_NAME
from ulmfit_dist.corpus.locations import beside, open_at
from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from ulmfit_dist.corpus.locations import Location

# A record over this is not a document but a broken quote or a missing line end; it bounds memory.
MAX_RECORD_CHARACTERS = 1 << 24
# UTF-8 takes at most four bytes a character.
MAX_RECORD_BYTES = 4 * MAX_RECORD_CHARACTERS
LABEL_SEPARATOR = "\x1f"
_BROKEN = re.compile("[\ud800-\udfff]")


class SourceColumns(Settings):
    """Where a table's text, label and record key stand.

    `layout` "2018" is fast.ai's CSV without a header: label first, then text fields; "named" has a header; "auto" takes
    a first row that holds every text column for a header, and one that starts with an integer for 2018.
    Several text columns (or 2018 fields) are the fields of one raw document (tokenization/rawtext.py).
    `id`, `url`, `date` and `label` are used where the column exists; without an id the record's number is its key.
    In JSON lines and Parquet `a.b` is the field b of the object a; with the default names the lines of CCNet, OSCAR,
    C4, datatrove and Wikipedia's Cirrus dumps are read as they are (fields.py).
    `label` may name several columns; `num_labels` is their number in the 2018 layout (fast.ai's n_lbls). A document's
    label is then the values joined by U+001F, in the order of `label_names`; classes.txt names the classes of one
    column, and is not used for several.
    `fold` names the column with each record's fold of a cross-validation; empty: there is none.
    `separator`: in plain text, a regular expression for the whole lines that stand between documents (parted.py), such
    as "-{3,}", or "[ ]*" for blank ones; empty: a text file is one document.
    """

    text: str | list[str] = "text"
    label: str | list[str] = "label"
    num_labels: int = Field(default=1, ge=1)
    id: str = "id"
    url: str = "url"
    date: str = "date"
    fold: str = ""
    separator: str = ""
    layout: Literal["auto", "named", "2018"] = "auto"

    @field_validator("text", "label")
    @classmethod
    def _some_column(cls, value: str | list[str], info: ValidationInfo) -> str | list[str]:
        if not value or not all(value):
            msg = f"name at least one {info.field_name} column"
            raise ValueError(msg)
        if isinstance(value, list) and len(set(value)) < len(value):
            msg = "a column is named twice"
            raise ValueError(msg)
        if info.field_name == "label" and isinstance(value, list) and "id" in value:
            msg = "'id' is the document's own column beside the labels"
            raise ValueError(msg)
        return value

    @field_validator("separator")
    @classmethod
    def _regular_expression(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            msg = f"{value!r} is no regular expression: {error}"
            raise ValueError(msg) from error
        return value

    @model_validator(mode="after")
    def _one_number_of_labels(self) -> Self:
        if isinstance(self.label, list) and self.num_labels not in (1, len(self.label)):
            msg = f"{len(self.label)} label columns are named, but num_labels is {self.num_labels}"
            raise ValueError(msg)
        return self

    @property
    def texts(self) -> list[str]:
        """The text columns as a list."""
        return [self.text] if isinstance(self.text, str) else list(self.text)

    @property
    def label_names(self) -> list[str]:
        """The label columns as a list; those of the 2018 layout, which has no names, are label_1, label_2 ..."""
        if isinstance(self.label, list):
            return list(self.label)
        if self.num_labels == 1:
            return [self.label]
        return [f"{self.label}_{number}" for number in range(1, self.num_labels + 1)]


@dataclass(frozen=True, slots=True)
class Record:
    """What a source says of one document; `position` names it to a person, `key` is its stable name in the source.

    `fold` is its fold as it is written there.
    """

    key: str
    position: str
    text: str
    label: str | None = None
    url: str = ""
    date: str = ""
    fold: str = ""


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


def check_text(text: str) -> str:
    """Return a document's text; BadRecord when it holds surrogates or is over MAX_RECORD_CHARACTERS."""
    if len(text) > MAX_RECORD_CHARACTERS:
        raise BadRecord("too large", text)
    return check_unicode(text)


def decode_utf8(data: bytes) -> str:
    """Return bytes as text; BadRecord when they are no UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadRecord("broken UTF-8", data.decode("utf-8", "surrogateescape")) from None


def join_labels(values: list[str]) -> str | None:
    """Return one label for the values of the label columns; None when all are empty."""
    if len(values) == 1:
        return values[0] or None
    return LABEL_SEPARATOR.join(value.replace(LABEL_SEPARATOR, " ") for value in values) if any(values) else None


def split_labels(label: str, count: int) -> list[str]:
    """Return the values of `count` label columns from a document's label; "" for those without."""
    if count < 2:
        return [label] * count
    values = label.split(LABEL_SEPARATOR)
    return values + [""] * (count - len(values))


def read_classes(location: Location) -> list[str] | None:
    """Return the label names of classes.txt beside a file, in order; None when there is none."""
    classes = beside(location, CLASSES_NAME)
    try:
        with open_at(classes) as file:
            text = file.read().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise InputError(f"{classes} is not UTF-8 text", found=str(error), do="save it as UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
