"""Rules: the table is whole, a language changes what it names, and a rule that drops too much is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ulmfit_dist.crawl.language import iso_code
from ulmfit_dist.crawl.minhash import units_of
from ulmfit_dist.crawl.quality import MEASURES, NUM_MEASURES, measure
from ulmfit_dist.crawl.rules import RULES, flagged, judge, shipped, thresholds_for, unknown_rules

UDHR = Path(__file__).resolve().parents[2] / "data" / "udhr"
GOOD = (
    "The harbour lies on the northern side of the island, where the water is deep enough for larger ships. "
    "Fishermen have used it for several hundred years, and a small market grew beside the quay in that time. "
    "Today most visitors arrive by ferry in the morning and leave again before the evening, but some stay longer."
)


def reason(text, language="en", changes=None):
    measures = measure(text, units_of(text), np.empty(0, np.uint64))[None]
    number = int(judge(measures, np.array([language.encode()]), changes or {})[0])
    return RULES[number - 1] if number else ""


def test_the_table_names_rules_and_languages():
    tables = shipped()
    assert unknown_rules(tables) == []
    assert all(iso_code(name) == name for name in tables if name not in ("default", "unspaced"))
    measured = {rule[4:] for rule in tables["default"]}
    assert measured == set(MEASURES) - {"unspaced"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD, ""),
        ("Too few words here.", "min_words"),
        ((GOOD + "\n") * 3, "max_duplicate_lines"),
        ("\n".join(f"- {part}" for part in GOOD.split(". ")), "max_bullet_lines"),
        (GOOD.replace(" the ", " # the # "), "max_symbol_words"),
        (" ".join(f"{n * 7919}" for n in range(99)), "min_letter_words"),
        (" ".join(f"w{n} of the very same kind" for n in range(40)), "max_top_2gram"),
        ("\n".join(part.strip(" .,") for part in GOOD.split(".") if part), "min_terminal_lines"),
    ],
)
def test_reasons(text, expected):
    assert reason(text) == expected


@pytest.mark.parametrize(
    "language", ["de", "en", "es", "fi", "fr", "hi", "ja", "km", "lo", "my", "ru", "th", "tr", "zh"]
)
def test_the_universal_declaration_is_kept(language):
    # Clean prose, with the repetitions of a law: thirty articles of which most begin alike.
    assert reason((UDHR / f"{language}.txt").read_text(encoding="utf-8"), language) == ""


@pytest.mark.parametrize("language", ["th", "km", "my", "ja"])
def test_a_text_that_says_one_thing_over_and_over_is_dropped_in_any_script(language):
    text = (UDHR / f"{language}.txt").read_text(encoding="utf-8")[1000:1060].replace("\n", "")
    assert reason(text * 40, language).startswith("max_")


def test_a_language_changes_what_it_names():
    long_words = "Donaudampfschifffahrtsgesellschaft verwaltungsvorschriften angelegenheit " * 1
    text = " ".join(f"{long_words}{n}" for n in "abcdefghijklmnopqrst") + "."
    changes = {
        "default": {f"max_top_{n}gram": 1 for n in (2, 3, 4)} | {f"max_duplicate_{n}grams": 1 for n in range(5, 11)}
    }
    assert reason(text, "en", changes) == "max_mean_word_length"
    changes["de"] = {"max_mean_word_length": 40}
    assert reason(text, "en", changes) == "max_mean_word_length"
    assert reason(text, "de", changes) == ""


def test_what_is_named_later_stands():
    assert thresholds_for("de", {}, unspaced=False)["max_mean_word_length"] == 15
    assert thresholds_for("xx", {}, unspaced=True)["min_words"] == 100
    assert thresholds_for("de", {"default": {"max_mean_word_length": 9}}, unspaced=False)["max_mean_word_length"] == 9


def test_what_was_not_measured_breaks_no_rule():
    assert judge(np.full((1, NUM_MEASURES), np.nan, np.float32), np.array([b"en"]), {}).tolist() == [0]


def test_a_rule_that_drops_most_of_a_language_is_flagged():
    counts = {
        "fi": {"": 7, "min_words": 13, "near_duplicate": 900},
        "de": {"": 8, "min_words": 12},
        "xx": {"min_words": 19},
        "th": {"max_symbols": 20},
    }
    assert flagged(counts) == {"fi": {"min_words": 0.65}, "th": {"max_symbols": 1.0}}
