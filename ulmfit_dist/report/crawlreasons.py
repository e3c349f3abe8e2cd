"""What the reasons of dropped documents mean, in words, and which of five fates each stands for."""

from __future__ import annotations

from ulmfit_dist.crawl.quality import DUPLICATE_GRAMS, TOP_GRAMS
from ulmfit_dist.crawl.rules import RULES

# In the order of their colours in every picture.
FATES = ("kept", "duplicate", "language", "quality", "other")
_FATE_OF = {
    "": "kept",
    "duplicate": "duplicate",
    "near_duplicate": "duplicate",
    "undetermined": "language",
    "multiple_languages": "language",
    "language": "language",
}
_MEANINGS = {
    "": "kept",
    "duplicate": "the same text stood before",
    "near_duplicate": "almost the text of the document that is kept of its cluster",
    "undetermined": "the detectors do not agree on a language",
    "multiple_languages": "too few of its lines are in its main language",
    "language": "in a language that was not asked for",
    "too_short": "fewer characters than min_characters",
    "boilerplate": "nothing left without the lines that stand all over its site",
    "empty": "no text on the page",
    "blocked": "on a blocklist: its text is not kept",
    "noai": "its site asks not to learn from it (noai)",
    "noindex": "its site asks not to index it (noindex)",
    "too_large": "larger than a page may be",
    "undecodable": "in no charset that gives text",
    "extraction_failed": "the text could not be taken out of the page",
}
_MEASURED = {
    "words": "words",
    "mean_word_length": "mean word length",
    "symbol_words": "# and … per word",
    "bullet_lines": "share of lines that begin with a bullet",
    "ellipsis_lines": "share of lines that end in …",
    "letter_words": "share of words with a letter",
    "stop_words": "of its language's most frequent words",
    "symbols": "share of signs that are in no word",
    "duplicate_lines": "share of repeated lines",
    "duplicate_line_characters": "characters in repeated lines",
    "duplicate_paragraphs": "share of repeated paragraphs",
    "duplicate_paragraph_characters": "characters in repeated paragraphs",
    "terminal_lines": "share of lines that end as a sentence does",
    "short_lines": "share of lines of at most 30 characters",
    "lines_per_word": "line ends per word",
    **{f"top_{size}gram": f"characters in the most frequent run of {size} words" for size in TOP_GRAMS},
    **{f"duplicate_{size}grams": f"characters in repeated runs of {size} words" for size in DUPLICATE_GRAMS},
}


def fate_of(reason: str) -> str:
    """Return the one of FATES that a reason stands for."""
    return "quality" if reason in RULES else _FATE_OF.get(reason, "other")


def meaning(reason: str) -> str:
    """Return a reason in words; "" for one that is not known here."""
    if reason in RULES:
        return f"{'too few' if reason.startswith('min_') else 'too many'}: {_MEASURED[reason[4:]]}"
    return _MEANINGS.get(reason, "")


def reason_order(reason: str) -> tuple[int, int, str]:
    """Return the place of a reason in tables: by fate, rules in the order in which they are judged."""
    return FATES.index(fate_of(reason)), RULES.index(reason) if reason in RULES else -1, reason
