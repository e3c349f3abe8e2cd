"""Training speed of the language model on one GPU: jitter, all dropouts, AR and TAR, clipping, AdamW switched on.

    pytest -m slow -s tests/bench/bench_lm_gpu.py

Speed is that of `train_lm` itself, the median over stretches of 25 steps; the first ones record the graphs. Tokens are
real where ULMFIT_STREAM is given (streams.py). fastai 2 is compared where it is installed (see bench_tokenize.py).
"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from statistics import median
from typing import Any

import fastai_peer
import pytest
import streams
import torch
from torch.profiler import ProfilerActivity, profile

from ulmfit_dist.events import Silent
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training import windows
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMTrainer, LMTrainingSettings, train_lm

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

STEPS, STRETCH = 400, 25
PROFILED = range(300, 320)
# On one H100: tokens/s, GiB that the allocator holds at its peak, and times fastai's learner at (lanes, bptt).
SPEED, MEMORY = {128: 650_000, 512: 1_200_000}, 8.0
PEER = {(104, 72): 2.3, (512, 70): 3.3}


def _train(lanes: int, folder: Path, recurrence: str = "own", checkpoint_steps: int = 0) -> list[dict[str, Any]]:
    data = streams.training_data(folder, lanes * 68 * STEPS)
    settings = LMTrainingSettings(
        num_lanes=lanes,
        log_points=STEPS // STRETCH,
        valid_lanes=256,
        device="cuda",
        checkpoint_seconds=0,
        checkpoint_steps=checkpoint_steps,
        recurrence=recurrence,  # type: ignore[arg-type]
    )
    model = LanguageModel(streams.VOCAB, AWDLSTMSettings(), 1)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    result = train_lm(model, data, settings, Group.single(), CheckpointFolder(folder / "c"), Silent())
    return list(result.curves["points"])


@pytest.mark.parametrize("recurrence", ["cudnn", "own"])
@pytest.mark.parametrize("lanes", [128, 512])
def test_tokens_per_second(lanes: int, recurrence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited, result = [0.0], windows.Future.result

    def timed(self: windows.Future[Any], timeout: float | None = None) -> Any:
        if self.done():
            return result(self, timeout)
        start = time.perf_counter()
        found = result(self, timeout)
        waited[0] += time.perf_counter() - start
        return found

    monkeypatch.setattr(windows.Future, "result", timed)
    points = _train(lanes, tmp_path, recurrence)
    speed = median(point["tokens_per_s"] for point in points[3:])
    memory = torch.cuda.max_memory_reserved() / 2**30
    in_use = torch.cuda.max_memory_allocated() / 2**30
    share = waited[0] * speed / points[-1]["tokens"]
    name = torch.cuda.get_device_name()
    print(f"\n{name}, {streams.describe()}, {lanes} lanes, {recurrence}: {speed:,.0f} tokens/s, data wait {share:.2%}")
    print(f"{in_use:.1f} GiB in use, {memory:.1f} kept by the allocator")
    assert share <= 0.01
    if "H100" in name:
        assert speed >= SPEED[lanes]
        assert memory <= MEMORY


@pytest.mark.skipif(importlib.util.find_spec("fastai") is None, reason="fastai 2 is not installed")
@pytest.mark.parametrize("shape", PEER)
def test_beside_fastai(shape: tuple[int, int], tmp_path: Path) -> None:
    peer = fastai_peer.tokens_per_second(AWDLSTMSettings(), streams.VOCAB, shape, 20)
    ours = median(point["tokens_per_s"] for point in _train(shape[0], tmp_path)[3:])
    print(f"\n{torch.cuda.get_device_name()}, {shape[0]} lanes: {ours:,.0f} against {peer:,.0f} tokens/s of fastai, ")
    print(f"ratio {ours / peer:.2f}")
    assert ours >= PEER[shape] * peer


def test_a_checkpoint_costs_the_step_its_copy_alone(tmp_path: Path) -> None:
    pauses: list[float] = []
    save = CheckpointFolder.save

    def timed(self: CheckpointFolder, *arguments: Any) -> None:
        torch.cuda.synchronize()
        start = time.perf_counter()
        save(self, *arguments)
        torch.cuda.synchronize()
        pauses.append(time.perf_counter() - start)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointFolder, "save", timed)
        _train(512, tmp_path, checkpoint_steps=150)
    print(f"\n{torch.cuda.get_device_name()}: seconds that a checkpoint takes from the steps {pauses}")
    size = sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors")) / 2**30
    print(f"{size:.2f} GiB in the kept ones")
    assert len(pauses) == 3  # two on the way, one at the end
    assert max(pauses) < 0.05


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
