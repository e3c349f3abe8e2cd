"""The peer: fastai 2's own text classifier and learner, predicting documents that are already numbers, or raw texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch

from ulmfit_dist.models.settings import AWDLSTMSettings


def learner_of(settings: AWDLSTMSettings, vocab_size: int, classes: int) -> Any:
    """Return fastai's classifier of the same sizes in its own learner (chunks of 72, the last 1,440 tokens pooled)."""
    from fastai.basics import DataLoaders, Learner
    from fastai.callback.rnn import ModelResetter, RNNCallback
    from fastai.losses import CrossEntropyLossFlat
    from fastai.text.models.awdlstm import AWD_LSTM
    from fastai.text.models.core import get_text_classifier

    model = get_text_classifier(AWD_LSTM, vocab_size, classes, seq_len=72, config=_config(settings), max_len=1440)
    empty = _loader([np.array([2])])
    callbacks = [ModelResetter, RNNCallback()]
    return Learner(DataLoaders(empty, empty), model, loss_func=CrossEntropyLossFlat(), cbs=callbacks)


def text_learner_of(settings: AWDLSTMSettings, max_vocab: int, texts: Sequence[str]) -> Any:
    """Return fastai's classifier of the same sizes in the learner that it makes for texts, whose words these are."""
    import pandas as pd
    from fastai.text.data import TextDataLoaders
    from fastai.text.learner import text_classifier_learner
    from fastai.text.models.awdlstm import AWD_LSTM

    table = pd.DataFrame({"text": list(texts), "label": [i % 2 for i in range(len(texts))]})
    given = {"text_col": "text", "label_col": "label", "valid_pct": 0.1, "max_vocab": max_vocab}
    loaders = TextDataLoaders.from_df(table, **given)
    return text_classifier_learner(loaders, AWD_LSTM, config=_config(settings), pretrained=False)


def predict(learner: Any, documents: Sequence[np.ndarray]) -> None:
    """Predict numbered documents with fastai's sorted, padded batches of 64."""
    _predict(learner, _loader(documents), len(documents))


def predict_texts(learner: Any, texts: Sequence[str]) -> None:
    """Predict raw texts as fastai's users do: with a `test_dl` of a learner of `text_learner_of`."""
    _predict(learner, learner.dls.test_dl(list(texts), num_workers=0), len(texts))


def _predict(learner: Any, loader: Any, count: int) -> None:
    import_module("fastai.callback.progress")  # adds no_bar
    with learner.no_bar(), learner.no_logging():
        probabilities, _ = learner.get_preds(dl=loader)
    assert probabilities.shape[0] == count


def _config(settings: AWDLSTMSettings) -> dict[str, Any]:
    from fastai.text.models.awdlstm import awd_lstm_clas_config

    sizes = {"emb_sz": settings.embedding_size, "n_hid": settings.hidden_size, "n_layers": settings.num_layers}
    return {**awd_lstm_clas_config, **sizes}


def _loader(documents: Sequence[np.ndarray]) -> Any:
    from fastai.text.data import SortedDL, TensorText, pad_input_chunk

    dataset = [(TensorText(torch.from_numpy(np.asarray(ids, np.int64))), 0) for ids in documents]
    before_batch = partial(pad_input_chunk, pad_idx=1, seq_len=72)
    return SortedDL(dataset, bs=64, num_workers=0, before_batch=before_batch)
