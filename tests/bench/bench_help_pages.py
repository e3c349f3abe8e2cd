"""Language of 200 pages of LibreOffice's help in 32 locales: what nobody has translated must be called English.

    ULMFIT_HTML=folder pytest -m slow -s tests/bench/bench_help_pages.py

$ULMFIT_HTML as for bench_crawl.py, with the unpacked Debian packages libreoffice-help-* (7.4.7) of all locales. The
pages are those of at least 200 characters whose path from the package on has the lowest xxh3_128. help_pages.tsv holds
their names and what they are, judged once by reading: of each page the beginning, middle and end, of 25 doubtful ones
the lines of the first 1,500 characters; the detector's answer stood beside the text. `en` where every sentence seen is
English (headings and menu labels may be translated), `mixed` where there are sentences of both, else the locale's.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from ulmfit_dist.crawl.extract import extract_text
from ulmfit_dist.crawl.language import MULTIPLE, UNDETERMINED, LanguageDetector, language_share
from ulmfit_dist.crawl.normalise import normalise, squeeze
from ulmfit_dist.crawl.settings import CrawlSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HTML = Path(os.environ.get("ULMFIT_HTML", "~/data/html")).expanduser()
PAGES = Path(__file__).with_name("help_pages.tsv")
MIXED = "mixed"
MIN_RIGHT = {"en": 0.95, "translated": 0.9}


def _label(detector: LanguageDetector, text: str) -> str:
    code = detector.detect(text).code
    alone = code == UNDETERMINED or language_share(text, code) >= CrawlSettings().min_language_share
    return code if alone else MULTIPLE


def test_pages_are_called_what_they_are_or_nothing() -> None:
    pages = [line.split("\t") for line in PAGES.read_text().splitlines()]
    files = {str(path).rpartition("/help/")[2]: path for path in HTML.glob("libreoffice-help-*/**/*.html")}
    if not all(name in files for _, name in pages):
        pytest.skip(f"{HTML} does not hold LibreOffice's help in all locales")
    detector = LanguageDetector()
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for expected, name in pages:
        found = _label(detector, squeeze(extract_text(normalise(files[name].read_text(encoding="utf-8")))))
        kind = expected if expected in ("en", MIXED) else "translated"
        labels[kind]["right" if found == expected else found] += 1
    for kind, counts in sorted(labels.items()):
        print(f"\n{kind}, {counts.total()} pages: {dict(counts.most_common())}", end="")
    assert sum(counts.total() for counts in labels.values()) == 200
    for kind, share in MIN_RIGHT.items():
        assert labels[kind]["right"] >= share * labels[kind].total()
        assert set(labels[kind]) <= {"right", MULTIPLE, UNDETERMINED}
