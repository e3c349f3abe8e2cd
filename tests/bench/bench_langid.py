"""Language identification on the Universal Declaration of Human Rights: recall, wrong labels and leak.

    pytest -m slow -s tests/bench/bench_langid.py

$ULMFIT_UDHR (default ~/data/crawl/udhr) holds a text file a language, named by its ISO 639-3 code (corpus udhr2 of
nltk_data). The lines are fixed by rule: of each file, by the digest of the line, the first 20 of at least 80 code
points, and as many cuts from their middle, of whole words, of at least 25 code points and the 20 letters below which
nothing is claimed. Known languages are those of which py3langid has a label: where pycld2 has none, every line is
missed. Every language weighs the same. Leak: lines of unknown languages that get any language's label.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest
import xxhash

from ulmfit_dist.crawl.language import MIN_LETTERS, UNDETERMINED, LanguageDetector, iso_code

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

UDHR = Path(os.environ.get("ULMFIT_UDHR", "~/data/crawl/udhr")).expanduser()
LINES, MIN_CHARACTERS, CUT = 20, 80, 25
MIN_RECALL = {"paragraphs": 0.86, "short": 0.81}
MAX_WRONG, MAX_LEAK = 0.025, 0.18


def _lines(file: Path) -> list[str]:
    lines = {line.strip() for line in file.read_text(encoding="utf-8").splitlines()}
    long = [line for line in lines if len(line) >= MIN_CHARACTERS]
    return sorted(long, key=lambda line: xxhash.xxh3_128_digest(line.encode()))[:LINES]


def _cut(line: str) -> str:
    """The shortest run of whole words from the middle, or nearer the beginning, that is long enough."""
    for start in range(len(line) // 2, -1, -1):
        if start and not line[start - 1].isspace():
            continue
        for end in range(start + CUT, len(line) + 1):
            letters = sum(map(str.isalpha, line[start:end]))
            if letters >= MIN_LETTERS and (end == len(line) or line[end].isspace() or end - start >= 2 * CUT):
                return line[start:end]
    return line


@pytest.mark.parametrize("kind", ["paragraphs", "short"])
def test_recall_wrong_labels_and_leak(kind: str) -> None:
    if not UDHR.is_dir():
        pytest.skip(f"no {UDHR}")
    detector = LanguageDetector()
    known = {iso_code(label) for label in detector._langid.labels}
    texts: dict[str, list[str]] = defaultdict(list)
    for file in sorted(UDHR.glob("*.txt")):
        code = iso_code(file.stem.partition("_")[0])
        # Files numbered 007 and so on name no language.
        if code != UNDETERMINED:
            texts[code] += [line if kind == "paragraphs" else _cut(line) for line in _lines(file)]
    shares: dict[str, list[float]] = defaultdict(list)
    for code, lines in texts.items():
        found = [detector.detect(line).code for line in lines]
        claimed = sum(one != UNDETERMINED for one in found) / max(1, len(lines))
        right = sum(one == code for one in found) / max(1, len(lines))
        if lines and code in known:
            shares["recall"].append(right)
            shares["wrong"].append(claimed - right)
        elif lines:
            shares["leak"].append(claimed)
    means = {name: sum(some) / len(some) for name, some in shares.items()}
    counts = f"{len(shares['recall'])} known languages, {len(shares['leak'])} unknown ones"
    print(f"\n{kind}: {counts}; " + ", ".join(f"{name} {mean:.3f}" for name, mean in sorted(means.items())))
    assert means["recall"] >= MIN_RECALL[kind]
    assert means["wrong"] <= MAX_WRONG
    assert means["leak"] <= MAX_LEAK
