"""Batch prediction of a classifier on a CPU, beside fastai's own learner with a model of the same sizes.

    pytest -m slow -s tests/bench/bench_predict.py

Needs fastai 2 (see bench_tokenize.py) and ULMFIT_DATA (default ~/data) with imdb/. Measured on IMDb's texts: from raw
text to prediction, which is what a user waits for, and from documents that are numbers already, the model alone.
Documents a CPU second of one thread are steady on a busy machine; documents a second of the clock on two threads mean
something on a quiet one only. fastai tokenizes in its own process here; with its worker processes it tokenizes twice.

Twice as many from numbers is out of reach in float32: of fastai's 9.4 us a token, 0.66 MFLOP at the 105 GFLOP/s that a
core can do are 6.3. Neither side computes much padding: both drop documents that have ended.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ulmfit_dist.finetune.members import Ensemble, ensemble_config
from ulmfit_dist.finetune.predict import LoadedClassifier, encode_documents
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.packed_lstm import Precision
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.models.targets import TargetConfig
from ulmfit_dist.serve.predictor import Predictor
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer
from ulmfit_dist.training.classifier import predict_logits

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
IMDB = Path(os.environ.get("ULMFIT_DATA", Path.home() / "data")) / "imdb"
QUICKSTART = AWDLSTMSettings(embedding_size=96, hidden_size=192, num_layers=2)
PAPER = AWDLSTMSettings()


def _texts(count: int, start: int) -> list[str]:
    with (IMDB / "test.csv").open(encoding="utf-8", newline="") as file:
        texts = [row[1] for row in csv.reader(file)]
    return texts[start :: len(texts) // count][:count]


def _rates(ways: dict[str, Callable[[], object]], count: int, repeats: int) -> dict[str, float]:
    """Print documents a second of each way on one thread's CPU and two threads' clock; return the former as ratios."""
    found: dict[str, float] = {}
    for threads, clock, name in ((1, time.process_time, "a CPU second"), (2, time.perf_counter, "a second, 2 threads")):
        torch.set_num_threads(threads)
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(repeats):
            for way, run in ways.items():
                started = clock()
                run()
                seconds[way].append(clock() - started)
        rates = {way: count / statistics.median(took) for way, took in seconds.items()}
        ratios = {way: rate / rates["fastai"] for way, rate in rates.items()}
        print(f"  documents {name}:", ", ".join(f"{way} {rates[way]:,.1f} (x{ratios[way]:.2f})" for way in ways))
        found = found or ratios
    return found


def _classifier(sizes: AWDLSTMSettings, texts: list[str], max_vocab: int) -> LoadedClassifier:
    recipe = WordRecipe(max_vocab=max_vocab)
    tokenizer = WordTokenizer(recipe, build_vocabulary(count_words(texts, WordSplitter(recipe)), recipe))
    language_model = LanguageModel(tokenizer.vocab_size, sizes, tokenizer.pad_id)
    model = TextClassifier.from_language_model(language_model, 2, ClassifierSettings()).eval()
    return LoadedClassifier(model, tokenizer, "word", "forward", ("0", "1"), TargetConfig())


@pytest.mark.parametrize(
    ("sizes", "vocab", "count", "repeats"), [(QUICKSTART, 8000, 1500, 2), (PAPER, 30_000, 256, 1)], ids=str
)
def test_documents_per_second_beside_fastai(sizes: AWDLSTMSettings, vocab: int, count: int, repeats: int) -> None:
    if importlib.util.find_spec("fastai") is None or not IMDB.is_dir():
        pytest.skip("fastai or IMDb's texts are not here")
    import fastai_classifier_peer as peer

    known, texts = _texts(2000, 1), _texts(count, 0)
    classifier = _classifier(sizes, known, vocab)
    documents = encode_documents(classifier.tokenizer, "forward", texts)
    tokens = sum(map(len, documents))
    print(f"\n{sizes.embedding_size}/{sizes.hidden_size}/{sizes.num_layers}, {count} reviews, {tokens:,} tokens")

    def numbers(precision: Precision) -> Callable[[], object]:
        return lambda: predict_logits(classifier.model, documents, precision=precision)

    learner = peer.learner_of(sizes, vocab, 2)
    print("from numbers:")
    from_numbers = _rates(
        {"fastai": lambda: peer.predict(learner, documents), "float32": numbers("float32"), "int8": numbers("int8")},
        count,
        repeats,
    )

    def predictor(precision: Precision) -> Callable[[], object]:
        members = LoadedClassifier(**{**vars(classifier), "precision": precision})
        ready = Predictor(Ensemble(ensemble_config({"m": members}), (members,)))
        return lambda: ready.predict(texts)

    text_learner = peer.text_learner_of(sizes, vocab, known)
    print("from texts:")
    from_texts = _rates(
        {
            "fastai": lambda: peer.predict_texts(text_learner, texts),
            "float32": predictor("float32"),
            "int8": predictor("int8"),
        },
        count,
        repeats,
    )
    if sizes is QUICKSTART:
        assert from_texts["float32"] >= 2
        assert from_numbers["int8"] >= 1.5
