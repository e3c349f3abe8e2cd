"""Quality measures against plain counts over words and lines."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ulmfit_dist.crawl.minhash import units_of
from ulmfit_dist.crawl.quality import MEASURES, measure

NONE = np.empty(0, np.uint64)


def measured(text, stop_words=NONE):
    return dict(zip(MEASURES, measure(text, units_of(text), stop_words).tolist(), strict=True))


def test_words_and_signs():
    found = measured("Hello # world, 12 times ...\n- one more…")
    assert found["words"] == 6
    assert found["mean_word_length"] == pytest.approx((5 + 5 + 2 + 5 + 3 + 4) / 6)
    assert found["symbol_words"] == pytest.approx(2 / 6)  # an ellipsis twice, one hash
    assert found["letter_words"] == pytest.approx(5 / 9)  # #, 12, ... and - have no letter
    assert found["ellipsis_lines"] == 1.0
    assert found["bullet_lines"] == 0.5
    assert found["lines_per_word"] == pytest.approx(1 / 6)
    assert found["unspaced"] == 0


def test_lines():
    text = 'A sentence ends here.\nNo end\nNo end\nHe said "this is it, my friends of the sea!"\n\nNo end\nक्या हाल है।'
    found = measured(text)
    assert found["terminal_lines"] == pytest.approx(3 / 6)
    assert found["short_lines"] == pytest.approx(5 / 6)
    assert found["duplicate_lines"] == pytest.approx(2 / 6)
    # Empty lines between paragraphs are no line ends of words.
    assert (
        found["lines_per_word"]
        == pytest.approx(5 / len(text.split()))
        == measured(text.replace("\n", "\n\n"))["lines_per_word"]
    )
    lines = text.replace("\n\n", "\n").split("\n")
    assert found["duplicate_line_characters"] == pytest.approx(12 / sum(map(len, lines)))
    assert measured("a b\n\na b\n\nc")["duplicate_paragraphs"] == pytest.approx(1 / 3)


def top_share(words, size):
    """The longest of the most frequent runs of words, by its characters."""
    runs = Counter(tuple(words[n : n + size]) for n in range(len(words) - size + 1))
    most = max(runs.values(), default=0)
    longest = max((sum(map(len, run)) for run, count in runs.items() if count == most), default=0)
    return most * longest / sum(map(len, words)) if most > 1 else 0.0


def duplicated_share(words, size):
    """Characters of the words in a run that stood before."""
    seen, covered = set(), set()
    for start in range(len(words) - size + 1):
        run = tuple(words[start : start + size])
        if run in seen:
            covered.update(range(start, start + size))
        seen.add(run)
    return sum(len(words[place]) for place in covered) / sum(map(len, words))


@pytest.mark.parametrize("text", ["a bb a bb a ccc", "one two three four five six seven eight nine ten " * 3, "x y z"])
def test_repeated_runs_of_words(text):
    found, words = measured(text), text.split()
    for size in (2, 3, 4):
        assert found[f"top_{size}gram"] == pytest.approx(min(1.0, top_share(words, size)))
    for size in (5, 7, 10):
        assert found[f"duplicate_{size}grams"] == pytest.approx(duplicated_share(words, size))


def test_stop_words_are_counted_once_each():
    stop_words = units_of("the of and").hashes
    assert measured("The cat of the house", stop_words)["stop_words"] == 2
    assert np.isnan(measured("The cat of the house")["stop_words"])


def test_without_spaces_a_character_is_a_word():
    found = measured("我们今天去公园。天气很好！")
    assert found["words"] == 11
    assert found["unspaced"] == 1
    assert np.isnan(found["mean_word_length"])
    assert np.isnan(found["letter_words"])
    assert found["terminal_lines"] == 1
    assert found["symbols"] == pytest.approx(2 / 13)


def test_a_text_of_nothing_breaks_nothing():
    assert np.isnan(measure("", units_of(""), NONE)).all()
