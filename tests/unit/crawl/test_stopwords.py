"""Stop words: the words of most documents of a language, of which there must be enough."""

from __future__ import annotations

import json

from ulmfit_dist.crawl import stopwords as stopwords_module
from ulmfit_dist.crawl.minhash import units_of
from ulmfit_dist.crawl.stopwords import WordCounts, stop_words


def counted(texts, language="en"):
    counts = WordCounts()
    for text in texts:
        counts.add(language, text)
    return json.loads(json.dumps(counts.to_json()))


def hashes(text):
    return set(units_of(text).hashes.tolist())


def test_the_words_of_most_documents(monkeypatch):
    monkeypatch.setattr(stopwords_module, "NUM_STOP_WORDS", 2)
    texts = [f"The house of number{n} house house house" for n in range(60)] + [
        f"the sea of word{n}" for n in range(60)
    ]
    found = stop_words([counted(texts[:30]), counted(texts[30:])])
    assert set(found["en"]) == hashes("the of")
    assert found == stop_words([counted(texts)])


def test_a_language_of_few_documents_has_none():
    assert stop_words([counted(["a b c"] * 99), counted(["x"] * 100, "de")]).keys() == {"de"}


def test_what_is_no_language_has_none():
    assert stop_words([counted(["a b c"] * 100, code) for code in ("und", "multi", "", "de")]).keys() == {"de"}


def test_rare_words_are_forgotten_and_frequent_ones_are_not(monkeypatch):
    monkeypatch.setattr(stopwords_module, "_MAX_DIFFERENT", 50)
    texts = [f"the {' '.join(f'w{n}x{k}' for k in range(10))}" for n in range(120)]
    found = counted(texts)["en"]
    assert len(found["words"]) <= 60
    assert found["words"][0] == [next(iter(hashes("the"))), 120]
