"""Warnings: each at its threshold and not before."""

from __future__ import annotations

from typing import Any

from ulmfit_dist.report.crawlwarnings import crawl_warnings


def told(tokens: dict[str, int], **more: Any) -> dict[str, Any]:
    matrix = {code: {"": {"documents": 100, "characters": 1000}} for code in tokens}
    base: dict[str, Any] = {
        "flagged": {},
        "available": {code: {"tokens": number, "train_tokens": number} for code, number in tokens.items()},
        "train": {code: {} for code in tokens},
        "sites": {},
        "matrix": matrix,
        "quarantined": {},
    }
    return base | more


def test_a_crawl_with_nothing_wrong_warns_of_nothing() -> None:
    assert crawl_warnings(told({"en": 10_000_000})) == []


def test_little_text() -> None:
    few, tiny = told({"fi": 9_999_999}), told({"fi": 999_999, "sv": 5, "und": 3, "multi": 1, "en": 10**9})
    assert crawl_warnings(few) == ["Little text for a language model (under 10 million tokens): fi."]
    assert crawl_warnings(tiny) == ["Too little text for a language model (under 1 million tokens): fi, sv."]


def test_a_rule_that_drops_most() -> None:
    (sentence,) = crawl_warnings(told({}, flagged={"th": {"max_symbols": 0.75}}))
    assert sentence.startswith("The rule max_symbols drops 75 % of the documents in th ")


def test_a_language_whose_sites_are_all_in_another_split() -> None:
    without = told({"en": 10**8, "de": 10**8, "multi": 10**8})
    for code in ("de", "multi"):
        without["available"][code]["train_tokens"] = 0
    (sentence,) = crawl_warnings(without)
    assert sentence.startswith("Nothing to train on: de: all of their sites")
    assert crawl_warnings({**without, "train": {}}) == [], "there is no such split"


def test_one_site() -> None:
    def with_share(characters: int) -> list[str]:
        sites = {"en": {"most": [["a\u202e.example", characters, 90]]}}
        return crawl_warnings(told({"en": 10**8}, sites=sites))

    assert with_share(500) == []
    (sentence,) = with_share(510)
    assert sentence.startswith("51 % of the text in en is of one site, a⟨U+202E⟩.example:")


def test_many_pages_of_no_language() -> None:
    matrix = {"en": {"": {"documents": 70}}, "und": {"too_short": {"documents": 30}}, "": {"empty": {"documents": 999}}}
    (sentence,) = crawl_warnings(told({}, matrix=matrix))
    assert sentence.startswith("Of 30 % of the documents no language")


def test_what_was_set_aside() -> None:
    assert crawl_warnings(told({}, quarantined={"damaged record": 1200})) == [
        "Records set aside in quarantine.jsonl: 1,200 damaged record."
    ]
