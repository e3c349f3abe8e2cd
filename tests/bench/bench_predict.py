"""Batch prediction of a classifier on a CPU, beside fastai's own learner with a model of the same sizes.

    pytest -m slow -s tests/bench/bench_predict.py

fastai 2 is compared where it is installed (see bench_tokenize.py). Documents are numbers already, of IMDb's lengths
(log-normal, median 216 tokens, mean 290): speed does not depend on the words. CPU seconds of one process are compared,
since other work on the machine changes the clock's.

Twice fastai's speed is the aim, and has not been reached: 94 % of our time is oneDNN's LSTM, which fastai calls too, at
85 to 103 GFLOP/s a core from 32 to 512 lanes.
"""

from __future__ import annotations

import importlib.util
import statistics
import time

import numpy as np
import pytest
import torch

from ulmfit_dist.finetune.predict import predict_encoded
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
QUICKSTART = AWDLSTMSettings(embedding_size=96, hidden_size=192, num_layers=2)
PAPER = AWDLSTMSettings()
THREADS, REPEATS = 2, 3


def _documents(count: int, vocab: int) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    lengths = np.clip(generator.lognormal(np.log(216), 0.77, count), 1, 50_000).astype(int)
    return [generator.integers(3, vocab, length) for length in lengths]


def _ours(model: TextClassifier, documents: list[np.ndarray]) -> float:
    started = time.process_time()
    predict_encoded(model, documents)
    return time.process_time() - started


@pytest.mark.parametrize(("sizes", "vocab", "count"), [(QUICKSTART, 8000, 1000), (PAPER, 30_000, 128)])
def test_documents_per_second_beside_fastai(sizes: AWDLSTMSettings, vocab: int, count: int) -> None:
    if importlib.util.find_spec("fastai") is None:
        pytest.skip("fastai is not installed")
    import fastai_classifier_peer as peer

    torch.set_num_threads(THREADS)
    documents = _documents(count, vocab)
    model = TextClassifier.from_language_model(LanguageModel(vocab, sizes, 1), 2, ClassifierSettings())
    learner = peer.learner_of(sizes, vocab, 2)
    peer.predict_seconds(learner, documents[:8])
    _ours(model, documents[:8])
    pairs = [(_ours(model, documents), peer.predict_seconds(learner, documents)) for _ in range(REPEATS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"\n{sizes.embedding_size}/{sizes.hidden_size}/{sizes.num_layers}, {count} documents, {THREADS} threads:")
    print(f"{count / ours:,.1f} documents a CPU second, fastai {count / theirs:,.1f}: x{theirs / ours:.2f}")
    assert theirs / ours >= 2
