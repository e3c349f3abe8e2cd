"""Sites: whose page a document is, and lists of documents, pages and domains that must not be kept."""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ulmfit_dist.corpus.documents import Document

# Below these a country's registry sells third levels: a.co.uk and b.co.uk are two sites.
_COMMON = """
ac co com edu gen gob gov gouv go gv id ind info lg ltd me mil ne net nhs nic nom or org plc police sch web
"""
_SECOND_LEVELS = frozenset(_COMMON.split())
_DOCUMENT_ID = re.compile(r"[0-9a-f]{32}")


def host_of(url: str) -> str:
    """Return the host of a URL in lower case, without port, "" where there is none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


@functools.lru_cache(maxsize=1024)
def site_of(url: str) -> str:
    """Return the domain that a URL's owner registered: www.a.co.uk and b.a.co.uk are both a.co.uk; "" without a host.

    By rule, not by a list: below a two-letter country a short, common second level counts as part of the ending.
    """
    host = host_of(url)
    labels = host.split(".")
    if _is_address(host):
        return host
    many = 3 if len(labels[-1]) == 2 and len(labels) > 2 and labels[-2] in _SECOND_LEVELS else 2
    return ".".join(labels[-many:])


class Blocklist:
    """Documents that must not be kept: by id, record id, URL or domain (with all below it)."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._ids: set[str] = set()
        self._urls: set[str] = set()
        self._domains: set[str] = set()
        for entry in entries:
            if _DOCUMENT_ID.fullmatch(entry) or entry.startswith(("urn:", "<urn:")):
                self._ids.add(entry.strip("<>"))
            elif "/" in entry:
                self._urls.add(_plain(entry))
            else:
                self._domains.add(entry.lower().removeprefix("*.").strip("."))

    def __bool__(self) -> bool:
        return bool(self._ids or self._urls or self._domains)

    def has(self, document: Document) -> bool:
        """Whether a document is on the list."""
        if document.id in self._ids or document.source.partition("#")[2] in self._ids:
            return True
        if not document.url:
            return False
        labels = host_of(document.url).split(".")
        parents = (".".join(labels[start:]) for start in range(len(labels)))
        return _plain(document.url) in self._urls or any(parent in self._domains for parent in parents)


def read_blocklist(paths: Iterable[Path]) -> list[str]:
    """Return the entries of blocklist files, one a line, sorted; empty lines and those that begin with # are left out.

    Raises InputError for a file that cannot be read.
    """
    entries: set[str] = set()
    for path in paths:
        try:
            entries.update(map(str.strip, path.read_text(encoding="utf-8").splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            do = "give a text file with an id, a URL or a domain a line"
            raise InputError(f"cannot read blocklist {path}", found=str(error), do=do) from error
    return sorted(entry for entry in entries if entry and not entry.startswith("#"))


def _is_address(host: str) -> bool:
    if not host[-1:].isdigit() and ":" not in host:
        return False  # a name, and no error is raised and caught for it
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _plain(url: str) -> str:
    """A URL without scheme, fragment and the slash at its end."""
    return re.sub(r"^[a-z]+://", "", url.strip().partition("#")[0], flags=re.IGNORECASE).rstrip("/")
