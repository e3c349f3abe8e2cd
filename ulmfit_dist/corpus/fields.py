"""Where a row's text, key, address and date stand: columns as named, else those of a well-known layout.

Rows without the default column `text` are known by two names at once, so that no chance column is taken for a text:
CCNet (raw_content), OSCAR from 2022 on (content beside warc_headers) and datatrove's (metadata); C4 calls the date
timestamp, and so does Wikipedia's Cirrus dump, whose pages carry page_id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TEXT = "text"


@dataclass(frozen=True)
class _Layout:
    """Fields of a published collection; `marks`: names that a row of it has."""

    marks: tuple[str, ...]
    text: str = DEFAULT_TEXT
    id: str = ""
    url: str = ""
    date: str = ""


_LAYOUTS = (
    _Layout(("raw_content", "url"), text="raw_content", url="url", date="date_download"),
    _Layout(
        ("content", "warc_headers"),
        text="content",
        id="warc_headers.warc-record-id",
        url="warc_headers.warc-target-uri",
        date="warc_headers.warc-date",
    ),
    _Layout(("text", "metadata"), url="metadata.url", date="metadata.date"),
    _Layout(("text", "namespace"), id="page_id", date="timestamp"),
    _Layout(("text", "timestamp"), date="timestamp"),
)


def field(values: Mapping[str, Any], name: str) -> Any:
    """Return a row's value; `a.b` is b of the table a where no column is called so; None where there is none."""
    if name in values:
        return values[name]
    head, dot, rest = name.partition(".")
    inner = values.get(head) if dot else None
    return field(inner, rest) if isinstance(inner, dict) else None


def known_fields(values: Mapping[str, Any]) -> dict[str, str]:
    """Return {text, id, url, date: name} as a well-known layout has them, "" for none; empty for any other row."""
    for layout in _LAYOUTS:
        if all(mark in values for mark in layout.marks):
            return {"text": layout.text, "id": layout.id, "url": layout.url, "date": layout.date}
    return {}


def is_index_line(values: Mapping[str, Any]) -> bool:
    """Whether an object is the line before a page of a Cirrus dump: {"index": {"_id": ...}}."""
    index = values.get("index")
    return len(values) == 1 and isinstance(index, dict) and "_id" in index
