"""What a page asks of machines."""

from __future__ import annotations

import pytest

from ulmfit_dist.crawl.piecefiles import NOAI, NOINDEX
from ulmfit_dist.crawl.robots import robots_state


@pytest.mark.parametrize(
    ("html", "header", "state"),
    [
        ('<meta name="robots" content="noai, noimageai">', "", NOAI),
        ("<META CONTENT='NOINDEX' NAME='ROBOTS'>", "", NOINDEX),
        ("<meta name=robots content=none>", "", NOINDEX),
        ('<meta name="robots" content="index, follow">', "noai", NOAI),
        ("", "googlebot: noindex, noai", NOAI | NOINDEX),
        ('<meta name="description" content="noai is a word of robots">', "", 0),
        ("<p>robots noindex</p>", "", 0),
        (" " * 30_000 + '<meta name="robots" content="noai">', "", 0),
    ],
)
def test_signs(html, header, state):
    assert robots_state(html, header) == state
