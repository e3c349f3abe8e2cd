"""The peer: fastai 2's own text classifier and learner, predicting documents that are already numbers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch

from ulmfit_dist.models.settings import AWDLSTMSettings


def learner_of(settings: AWDLSTMSettings, vocab_size: int, classes: int) -> Any:
    """Return fastai's classifier of the same sizes in its own learner (chunks of 72, the last 1,440 tokens pooled)."""
    import_module("fastai.callback.progress")  # adds no_bar
    from fastai.basics import DataLoaders, Learner
    from fastai.callback.rnn import ModelResetter, RNNCallback
    from fastai.losses import CrossEntropyLossFlat
    from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_clas_config
    from fastai.text.models.core import get_text_classifier

    sizes = {"emb_sz": settings.embedding_size, "n_hid": settings.hidden_size, "n_layers": settings.num_layers}
    config = {**awd_lstm_clas_config, **sizes}
    model = get_text_classifier(AWD_LSTM, vocab_size, classes, seq_len=72, config=config, max_len=1440)
    empty = _loader([np.array([2])])
    callbacks = [ModelResetter, RNNCallback()]
    return Learner(DataLoaders(empty, empty), model, loss_func=CrossEntropyLossFlat(), cbs=callbacks)


def predict_seconds(learner: Any, documents: Sequence[np.ndarray]) -> float:
    """Predict all documents with fastai's sorted, padded batches of 64; return the CPU seconds it took."""
    loader = _loader(documents)
    with learner.no_bar(), learner.no_logging():
        started = time.process_time()
        probabilities, _ = learner.get_preds(dl=loader)
        used = time.process_time() - started
    assert probabilities.shape[0] == len(documents)
    return used


def _loader(documents: Sequence[np.ndarray]) -> Any:
    from fastai.text.data import SortedDL, TensorText, pad_input_chunk

    dataset = [(TensorText(torch.from_numpy(np.asarray(ids, np.int64))), 0) for ids in documents]
    before_batch = partial(pad_input_chunk, pad_idx=1, seq_len=72)
    return SortedDL(dataset, bs=64, num_workers=0, before_batch=before_batch)
