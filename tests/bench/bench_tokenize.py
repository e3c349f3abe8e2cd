"""How fast text becomes tokens, against spaCy, fastai 2 and SentencePiece on the same text in the same run.

    pytest -m slow -s tests/bench/bench_tokenize.py

Needs ULMFIT_DATA (default ~/data) with lm_wiki_en_2015/ and imdb/; fastai 2 is compared where it is installed
(`pip install --no-deps fastai==2.8.12 fastcore fastprogress==1.0.3 'plum-dispatch<2.10' fasttransform`).
"""

from __future__ import annotations

import csv
import gc
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
import spacy

from ulmfit_dist.corpus.documents import Document, document_id, work_items, write_documents
from ulmfit_dist.files import read_json
from ulmfit_dist.tokenization.recipe import SubwordRecipe, WordRecipe
from ulmfit_dist.tokenization.subword import train_subword
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
DATA = Path(os.environ.get("ULMFIT_DATA", Path.home() / "data"))
WIKI, IMDB = DATA / "lm_wiki_en_2015", DATA / "imdb"
REPEATS = 5
ITEM_CHARACTERS = 16_000_000
PEER = """
import sys, spacy
from pathlib import Path
from ulmfit_dist.corpus.documents import read_item, work_items
tokenizer = spacy.blank("en").tokenizer
tokenizer.max_cache_size = 10**7
tokens = 0
for item in work_items(Path(sys.argv[1]))[int(sys.argv[2])::2]:
    for doc in tokenizer.pipe([document.text for document in read_item(item)]):
        tokens += len(doc)
print(tokens)
"""


@pytest.fixture(scope="module")
def wiki(tmp_path_factory):
    """All of wiki_en as documents."""
    if not WIKI.is_dir():
        pytest.skip(f"no {WIKI}")
    folder = tmp_path_factory.mktemp("wiki") / "documents"
    texts = enumerate(_articles())
    write_documents(folder, (Document(document_id("wiki", str(n)), text) for n, text in texts), ITEM_CHARACTERS)
    return folder


def _articles():
    for path in sorted(WIKI.iterdir()):
        for block in path.read_text(encoding="utf-8").split("</doc>\n"):
            if block.startswith("<doc"):
                yield block.partition(">\n")[2]


def _ulmfit(*arguments: object) -> float:
    started = time.perf_counter()
    command = [sys.executable, "-m", "ulmfit_dist", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _seconds(*functions: Callable[[], object]) -> list[float]:
    """Median CPU seconds of each function, taken in turn so that a busy machine slows all alike."""
    gc.collect()
    gc.freeze()  # as the pool's workers do
    taken: list[list[float]] = [[] for _ in functions]
    for _ in range(REPEATS):
        for times, function in zip(taken, functions, strict=True):
            started = time.process_time()
            function()
            times.append(time.process_time() - started)
    return [statistics.median(times) for times in taken]


def _sample(characters: int) -> list[str]:
    """English text, half wiki_en and half IMDb."""
    texts: list[str] = []
    total = 0
    with (IMDB / "train.csv").open(encoding="utf-8", newline="") as file:
        for _, text in csv.reader(file):
            texts.append(text)
            total += len(text)
            if total > characters // 2:
                break
    for text in _articles():
        texts.append(text)
        total += len(text)
        if total > characters:
            break
    return texts


def test_warm_word_path():
    texts = _sample(4_000_000)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    recipe = WordRecipe()
    tokenizer = WordTokenizer(recipe, build_vocabulary(count_words(texts, WordSplitter(recipe)), recipe))
    tokenizer.encode(texts)
    plain = spacy.blank("en").tokenizer
    ours, spacys = _seconds(lambda: tokenizer.encode(texts), lambda: [len(doc) for doc in plain.pipe(texts)])
    print(f"\n{len(texts)} documents, {megabytes:.1f} MB, CPU seconds, one core")
    print(
        f"warm memo with rules {megabytes / ours:.1f} MB/s, spaCy alone {megabytes / spacys:.2f}: x{spacys / ours:.1f}"
    )
    assert spacys / ours >= 12


def test_warm_word_path_against_fastai():
    if importlib.util.find_spec("fastai") is None:
        pytest.skip("fastai is not installed")
    from fastai.text.core import SpacyTokenizer, Tokenizer

    texts = _sample(1_200_000)
    recipe = WordRecipe()
    tokenizer = WordTokenizer(recipe, build_vocabulary(count_words(texts, WordSplitter(recipe)), recipe))
    tokenizer.encode(texts)
    chain = Tokenizer(SpacyTokenizer("en"))
    ours, theirs = _seconds(lambda: tokenizer.encode(texts), lambda: [chain(text) for text in texts])
    print(f"\nwarm memo with rules against fastai 2's own chain: x{theirs / ours:.1f}")
    assert theirs / ours >= 35


def test_subword_encoding_costs_what_sentencepiece_costs():
    texts = _sample(6_000_000)
    tokenizer = train_subword(texts, SubwordRecipe(language="en", vocab_size=16_000, sample_characters=2_000_000))
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    ours, theirs = _seconds(lambda: tokenizer.encode(texts), lambda: processor.encode(texts, num_threads=1))
    print(f"\nsubword {ours:.2f} s, sentencepiece.encode of the same list {theirs:.2f} s: {ours / theirs - 1:+.1%}")
    assert ours / theirs <= 1.05


def test_cold_against_two_plain_spacy_workers(wiki, tmp_path):
    _ulmfit("train-tokenizer", wiki, "--recipe", "en/word_60k", "--out", tmp_path / "trained")
    shutil.copytree(tmp_path / "trained", tmp_path / "tokenizer", ignore=shutil.ignore_patterns("chunks"))
    characters = sum(item.characters for item in work_items(wiki))
    cold = _ulmfit("tokenize", wiki, "--tokenizer", tmp_path / "tokenizer", "--out", tmp_path / "cold", "--workers", 2)
    started = time.perf_counter()
    workers = [
        subprocess.Popen([sys.executable, "-c", PEER, str(wiki), str(number)], stdout=subprocess.PIPE)
        for number in range(2)
    ]
    tokens = sum(int(worker.communicate()[0]) for worker in workers)
    plain = time.perf_counter() - started
    table = _ulmfit("tokenize", wiki, "--tokenizer", tmp_path / "trained", "--out", tmp_path / "table", "--workers", 2)
    one = _ulmfit("tokenize", wiki, "--tokenizer", tmp_path / "trained", "--out", tmp_path / "one", "--workers", 1)
    manifests = [(tmp_path / name / "manifest.json").read_bytes() for name in ("cold", "table", "one")]
    assert manifests[0] == manifests[1] == manifests[2]
    manifest = read_json(tmp_path / "cold" / "manifest.json")
    parts = read_json(tmp_path / "trained" / "chunks" / "table.json")["parts"]
    chunks, occurrences = (sum(part[key] for part in parts) for key in ("chunks", "occurrences"))
    print(f"\nwiki_en: {characters / 1e6:.0f} M characters, {manifest['tokens'] / 1e6:.1f} M tokens, wall seconds")
    print(f"two plain spaCy workers {plain:.1f} ({tokens / 1e6:.1f} M tokens)")
    print(f"two actors, cold, start-up included {cold:.1f}: x{plain / cold:.2f}")
    print(f"  {chunks:,} distinct of {occurrences:,} chunks: miss rate {chunks / occurrences:.2%}")
    print(f"two actors with the tokenizer's chunk table {table:.1f}; one actor {one:.1f}")
    rates = {name: _rate(tmp_path / name) for name in ("table", "one")}
    ratio = rates["table"] / rates["one"]
    print(f"  start-up left out: {rates['table'] / 1e6:.2f} and {rates['one'] / 1e6:.2f} M characters/s: x{ratio:.2f}")
    assert ratio >= 1.8
    assert plain / cold >= 3


def _rate(out: Path) -> float:
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    (finished,) = [line for line in lines if line["kind"] == "phase-finished"]  # one phase: the table was there
    return sum(node["characters_per_second"] for node in finished["nodes"].values())
