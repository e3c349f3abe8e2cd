"""The memo against spaCy as shipped and the rules, over whole corpora: 0 documents may differ.

    pytest -m slow -s tests/bench/bench_exactness.py

Needs ULMFIT_DATA (default ~/data) with lm_wiki_en_2015/ and imdb/; twenty minutes on two cores.
"""

from __future__ import annotations

import csv
import itertools
import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import spacy

from ulmfit_dist.tokenization.memo import ChunkMemo
from ulmfit_dist.tokenization.rawtext import split_fields
from ulmfit_dist.tokenization.recipe import SEGMENTED_LANGUAGES, WordRecipe, spacy_languages
from ulmfit_dist.tokenization.rules import RULE_SETS, rule_set
from ulmfit_dist.tokenization.word import WordSplitter

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
DATA = Path(os.environ.get("ULMFIT_DATA", Path.home() / "data"))
BATCH_DOCUMENTS = 256


def _wiki() -> Iterator[str]:
    for path in sorted((DATA / "lm_wiki_en_2015").iterdir()):
        for block in path.read_text(encoding="utf-8").split("</doc>\n"):
            if block.startswith("<doc"):
                yield block.partition(">\n")[2]


def _imdb() -> Iterator[str]:
    for name in ("train", "test", "unsup"):
        with (DATA / "imdb" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                yield row[1]


def _compare(task: tuple[str, int, int]) -> tuple[int, int, int, list[str]]:
    """Compare every n-th batch of a corpus: (documents, characters, tokens, the first texts that differ)."""
    corpus, first, step = task
    rules = rule_set("ulmfit-1")
    memo = ChunkMemo(WordSplitter(WordRecipe()))
    plain = spacy.blank("en").tokenizer
    plain.max_cache_size = 10**7
    texts = {"wiki_en": _wiki, "imdb": _imdb}[corpus]()
    documents = characters = tokens = 0
    differing: list[str] = []
    for number in itertools.count():
        batch = list(itertools.islice(texts, BATCH_DOCUMENTS))
        if not batch:
            return documents, characters, tokens, differing
        if number % step != first:
            continue
        got = memo.encode(batch)
        for place, text in enumerate(batch):
            expected: list[str] = []
            for part in rules.parts(split_fields(text)):
                words = [token.text for token in plain(rules.before(part.text))]
                expected += [*part.marks, *rules.after(words)]
            codes = got.codes[got.starts[place] : got.starts[place + 1]].tolist()
            if [memo.tokens[code] for code in codes] != expected:
                differing.append(text)
            documents, characters, tokens = documents + 1, characters + len(text), tokens + len(expected)
    raise AssertionError


@pytest.mark.parametrize("corpus", ["wiki_en", "imdb"])
def test_no_document_differs(corpus):
    started = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(_compare, [(corpus, 0, 2), (corpus, 1, 2)])
    documents, characters, tokens = (sum(result[field] for result in results) for field in range(3))
    differing = [text for result in results for text in result[3]]
    seconds = time.perf_counter() - started
    print(f"\n{corpus}: {documents:,} documents, {characters:,} characters, {tokens:,} tokens: {len(differing)} differ")
    print(f"({seconds:.0f} s)")
    assert not differing


def _tangle(randomness: random.Random, pieces: list[str]) -> str:
    gaps = [" ", " ", " ", " ", "", "  ", "\n", "\n ", " \n", "\t"]
    out = []
    for _ in range(randomness.randrange(1, 14)):
        piece = randomness.choice(pieces) * (randomness.randrange(1, 5) if randomness.random() < 0.1 else 1)
        before, after = (randomness.choice("(\"'.,;:!?-)") if randomness.random() < 0.2 else "" for _ in range(2))
        out += [before, piece, after, randomness.choice(gaps)]
    return "".join(out)


def _compare_language(language: str) -> tuple[str, int, list[str]]:
    """Texts tangled from a language's own special cases and their parts, under every rule set."""
    bad, count = [], 0
    for rules in sorted(RULE_SETS):
        splitter = WordSplitter(WordRecipe(language=language, rules=rules))
        memo = ChunkMemo(splitter)
        cases = splitter._words.special_cases
        parts = {"".join(tokens[:end]) for tokens in cases.values() for end in range(1, len(tokens))}
        pieces = [*cases, *sorted(parts), *(part for case in cases for part in case.split()), "No", "the", "10km", "x,"]
        randomness = random.Random(f"{language} {rules}")
        texts = [_tangle(randomness, pieces) for _ in range(1500)]
        got = memo.encode(texts)
        for place, text in enumerate(texts):
            codes = got.codes[got.starts[place] : got.starts[place + 1]].tolist()
            if [memo.tokens[code] for code in codes] != splitter.tokens(text):
                bad.append(f"{language} {rules} {text!r}")
        count += len(texts)
    return language, count, bad


def test_no_tangled_text_differs_in_any_language():
    languages = sorted(spacy_languages() - set(SEGMENTED_LANGUAGES))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(_compare_language, languages, chunksize=1)
    bad = [text for _, _, texts in results for text in texts]
    print(f"\n{len(languages)} languages, {sum(count for _, count, _ in results):,} tangled texts: {len(bad)} differ")
    for text in bad[:5]:
        print(text)
    assert not bad
