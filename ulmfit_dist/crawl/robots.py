"""What a site asks of machines that read it: the X-Robots-Tag header and the robots elements of a page."""

from __future__ import annotations

import re

from ulmfit_dist.crawl.piecefiles import NOAI, NOINDEX

_META = re.compile(r"<meta\b[^>]{0,500}>", re.IGNORECASE)
_NAME = re.compile(r"\bname\s*=\s*[\"']?\s*(?:robots|googlebot)\b", re.IGNORECASE)
_CONTENT = re.compile(r"\bcontent\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")
_HEAD = 20_000
_ASKS = {"noai": NOAI, "noindex": NOINDEX, "none": NOINDEX}


def robots_state(html: str, header: str = "") -> int:
    """Return NOAI, NOINDEX, both or 0 for a page and its X-Robots-Tag; of a page its first 20,000 characters count."""
    asked = [header]
    head = html[:_HEAD]
    if "robots" in head or "googlebot" in head or "ROBOTS" in head:
        for element in _META.findall(head):
            content = _CONTENT.search(element)
            if content and _NAME.search(element):
                asked.append(content[1] or content[2] or content[3] or "")
    state = 0
    for word in _WORD.findall(",".join(asked).lower()):
        state |= _ASKS.get(word, 0)
    return state
