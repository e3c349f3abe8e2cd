"""Training speed of the language model on one GPU: jitter, all dropouts, AR and TAR, clipping, AdamW switched on.

    pytest -m slow -s tests/bench/bench_lm_gpu.py

Speed is that of `train_lm` itself, the median over stretches of 25 steps; the first ones record the graphs. Tokens are
random (speed hardly depends on them); the stream is a real one, read through its memory map.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.events import Silent
from ulmfit_dist.models.awd_lstm import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.tokenization.tokenizer import Encoded
from ulmfit_dist.training import lm
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMTrainer, LMTrainingSettings, train_lm
from ulmfit_dist.training.windows import read_windows

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

VOCAB, STEPS, STRETCH = 60_000, 400, 25
PROFILED = range(300, 320)
# Tokens/s on one H100, and GiB in use: the bars. What torch's allocator keeps beside that is printed.
SPEED, MEMORY = {128: 650_000, 512: 1_200_000}, 8.0


class _Numbers:
    unit, name, vocab_size, unk_id, pad_id, bos_id, fingerprint = "word", "numbers", VOCAB, 0, 1, 2, "f" * 32


def _stream(folder: Path, tokens: int) -> TokenStream:
    ids = np.random.default_rng(1).integers(3, VOCAB, size=(tokens // 500, 500), dtype=np.uint32)
    pairs = [(f"{i:032x}", Encoded(row, 2500, 500, 0, 0.0)) for i, row in enumerate(ids)]
    receipt = write_shard(folder / "shard-00000.h5", pairs, _Numbers(), "0" * 32)  # type: ignore[arg-type]
    write_manifest(folder, [receipt], _Numbers())  # type: ignore[arg-type]
    return TokenStream.open(folder)


def _train(lanes: int, folder: Path, recurrence: str = "cudnn") -> list[dict[str, Any]]:
    data = LMData(_stream(folder / "train", lanes * 68 * STEPS), _stream(folder / "valid", 50_000), "forward")
    settings = LMTrainingSettings(
        num_lanes=lanes, log_points=STEPS // STRETCH, device="cuda", checkpoint_seconds=0, recurrence=recurrence
    )
    model = LanguageModel(VOCAB, AWDLSTMSettings(), 1)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    result = train_lm(model, data, settings, Group.single(), CheckpointFolder(folder / "c"), Silent())
    return list(result.curves["points"])


@pytest.mark.parametrize("recurrence", ["cudnn", "own"])
@pytest.mark.parametrize("lanes", [128, 512])
def test_tokens_per_second(lanes: int, recurrence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = [0.0]

    def timed(*arguments: Any) -> Iterator[Any]:
        windows = read_windows(*arguments)
        while True:
            start = time.perf_counter()
            item = next(windows, None)
            waited[0] += time.perf_counter() - start
            if item is None:
                return
            yield item

    monkeypatch.setattr(lm, "read_windows", timed)
    points = _train(lanes, tmp_path, recurrence)
    speed = median(point["tokens_per_s"] for point in points[3:])
    memory = torch.cuda.max_memory_reserved() / 2**30
    in_use = torch.cuda.max_memory_allocated() / 2**30
    share = waited[0] * speed / points[-1]["tokens"]
    name = torch.cuda.get_device_name()
    print(f"\n{name}, {lanes} lanes, {recurrence}: {speed:,.0f} tokens/s, data wait {share:.2%}")
    print(f"{in_use:.1f} GiB in use, {memory:.1f} kept by the allocator")
    assert share <= 0.01
    if "H100" in name:
        assert speed >= SPEED[lanes]
        assert in_use <= MEMORY


def test_where_the_time_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiler = profile(activities=[ProfilerActivity.CUDA])
    train_step, tokens, seconds = LMTrainer.train_step, [0], [0.0]

    def profiled(self: LMTrainer, position: Any, window: Any) -> None:
        if position.step == PROFILED.start:
            torch.cuda.synchronize()
            profiler.start()
            seconds[0] = time.perf_counter()
        train_step(self, position, window)
        if position.step in PROFILED:
            tokens[0] += window.num_valid
        if position.step == PROFILED[-1]:
            torch.cuda.synchronize()
            seconds[0] = time.perf_counter() - seconds[0]
            profiler.stop()

    monkeypatch.setattr(LMTrainer, "train_step", profiled)
    _train(512, tmp_path)
    rows = sorted(profiler.key_averages(), key=lambda row: -row.self_device_time_total)
    steps = len(PROFILED)
    print(
        f"\na step of {tokens[0] / steps:,.0f} tokens: {1e3 * seconds[0] / steps:.2f} ms under the profiler, of which"
    )
    for row in rows[:30]:
        print(f"{row.self_device_time_total / steps / 1e3:8.3f} ms {row.count / steps:7.1f} x  {row.key[:100]}")
    busy = sum(row.self_device_time_total for row in rows) / steps / 1e3
    print(f"{busy:8.3f} ms in all kernels")
    assert busy > 0
