"""The peer: fastai 2's own AWD-LSTM learner (its model, callbacks, optimizer, fp16 on a GPU) on random tokens."""

from __future__ import annotations

import time
from importlib import import_module

import torch

from ulmfit_dist.models.settings import AWDLSTMSettings


def tokens_per_second(settings: AWDLSTMSettings, vocab_size: int, shape: tuple[int, int], steps: int) -> float:
    """Train an epoch of windows of shape (lanes, tokens) after one to warm up, where fastai itself would train."""
    import_module("fastai.callback.progress")  # adds no_bar
    from fastai.basics import DataLoaders, Learner
    from fastai.callback.fp16 import MixedPrecision
    from fastai.callback.rnn import ModelResetter, RNNCallback, RNNRegularizer
    from fastai.losses import CrossEntropyLossFlat
    from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config, awd_lstm_lm_split
    from fastai.text.models.core import get_language_model

    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    class Batches(list):  # type: ignore[type-arg]
        bs, device, drop_last = shape[0], where, True

        @property
        def dataset(self) -> Batches:
            return self

        def to(self, _: torch.device) -> Batches:
            return self

    def batches(count: int) -> Batches:
        windows = (torch.randint(3, vocab_size, (2, *shape), device=where) for _ in range(count))
        return Batches(tuple(window) for window in windows)

    sizes = {"emb_sz": settings.embedding_size, "n_hid": settings.hidden_size, "n_layers": settings.num_layers}
    model = get_language_model(AWD_LSTM, vocab_size, config={**awd_lstm_lm_config, **sizes}).to(where)
    learner = Learner(
        DataLoaders(batches(steps), batches(1)),
        model,
        loss_func=CrossEntropyLossFlat(),
        splitter=awd_lstm_lm_split,
        cbs=[ModelResetter, RNNCallback(), RNNRegularizer(alpha=2.0, beta=1.0)],
        wd=0.1,
    )
    if where.type == "cuda":
        learner.add_cb(MixedPrecision())
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-3)
        _wait(where)
        started = time.perf_counter()
        learner.fit(1, 1e-3)
        _wait(where)
        return steps * shape[0] * shape[1] / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
