"""What a crawl writes is shown and not obeyed."""

from __future__ import annotations

import unicodedata

import pytest

from ulmfit_dist.report.shown import shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\0b", "a⟨U+0000⟩b"),
        ("evil \u202egnp.exe", "evil ⟨U+202E⟩gnp.exe"),
        ("\u2066x\u2069\ufeff\u200e\x1b[2J", "⟨U+2066⟩x⟨U+2069⟩⟨U+FEFF⟩⟨U+200E⟩⟨U+001B⟩[2J"),
        ("lone \ud800", "lone ⟨U+D800⟩"),
        ("tag\U000e0041", "tag⟨U+E0041⟩"),
        ("  one \n\n\t two  words\n", "one ⏎ two words"),
        ("می\u200cخواهم क\u094d\u200dष", "می\u200cخواهم क\u094d\u200dष"),
        ("<b>&amp;", "<b>&amp;"),
    ],
)
def test_shown(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_no_control_and_no_mark_of_direction_is_left() -> None:
    everything = "".join(map(chr, range(0x110000)))
    left = {unicodedata.category(c) for c in shown(everything)}
    assert "Cc" not in left
    assert "Cs" not in left
    assert not [
        c for c in shown(everything) if unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "B")
    ]
