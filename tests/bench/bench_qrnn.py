"""Speed of the quasi-recurrent encoder at MultiFiT's sizes: its scan, a Python loop over time, and LSTM layers.

    pytest -m slow -s tests/bench/bench_qrnn.py

On a CPU: one thread, CPU seconds of a window, repetitions in turn, medians. On a GPU: tokens/s of `train_lm` with
everything switched on, as in bench_lm_gpu.py, and the two kernels of a layer against the memory they must move.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
import streams
import torch

from ulmfit_dist.events import Silent
from ulmfit_dist.models import qrnn
from ulmfit_dist.models.encoder import Encoder
from ulmfit_dist.models.language_model import LanguageModel, make_encoder
from ulmfit_dist.models.qrnn_pool import fo_pool, plain_fo_pool
from ulmfit_dist.models.settings import AWDLSTMSettings, EncoderSettings, QRNNSettings
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.device import cpu_threads
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMTrainingSettings, train_lm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
T, UNITS, REPEATS = 70, 1550, 5
LSTM = AWDLSTMSettings(hidden_size=UNITS, num_layers=4)
LANES, STEPS, STRETCH = 512, 300, 25


def _median(runs: dict[str, Callable[[], None]]) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(REPEATS):
        for name, run in runs.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    return {name: median(values) for name, values in seconds.items()}


def _window(encoder: Encoder, lanes: int, *, backward: bool) -> None:
    with torch.set_grad_enabled(backward):
        out = encoder(torch.randint(0, 100, (T, lanes)), encoder.initial_state(lanes))
        if backward:
            out.raw_TBE.sum().backward()


@pytest.mark.parametrize(("lanes", "backward"), [(1, False), (16, True)])
def test_a_window_of_the_encoder(lanes: int, backward: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, lstm = make_encoder(100, QRNNSettings(), 1), make_encoder(100, LSTM, 1)

    def looped() -> None:
        monkeypatch.setattr(qrnn, "fo_pool", plain_fo_pool)
        _window(scan, lanes, backward=backward)
        monkeypatch.setattr(qrnn, "fo_pool", fo_pool)

    runs = {
        "scan": lambda: _window(scan, lanes, backward=backward),
        "loop over time": looped,
        "LSTM of the same sizes": lambda: _window(lstm, lanes, backward=backward),
    }
    with cpu_threads(1):
        times = _median(runs)
    what = "forward and backward" if backward else "forward"
    print(f"\n4 x {UNITS}, {lanes} lanes x {T} tokens, {what}, CPU ms: ")
    for name, seconds in times.items():
        print(f"{1e3 * seconds:10.1f}  {name}, x{seconds / times['scan']:.2f}")
    assert times["scan"] < times["LSTM of the same sizes"]


@pytest.mark.parametrize(("lanes", "units"), [(1, UNITS), (16, 192), (16, UNITS), (64, UNITS)])
def test_the_recurrence_of_a_layer(lanes: int, units: int) -> None:
    gates, cell = torch.randn(T, lanes, 3 * units, requires_grad=True), torch.zeros(lanes, units)
    dout = torch.randn(T, lanes, units)
    pools = {"scan": fo_pool, "loop over time": plain_fo_pool}
    runs = {name: lambda pool=pool: pool(gates, cell).out_TBH.backward(dout) for name, pool in pools.items()}
    with cpu_threads(1):
        times = _median(runs)
    ratio = times["loop over time"] / times["scan"]
    print(f"\nfo-pooling, {lanes} lanes of {units}, forward and backward, CPU ms: {1e3 * times['scan']:.1f}")
    print(f"a loop over time x{ratio:.2f}")
    # In wide layers both wait for memory.
    assert ratio > 1 or lanes * units > 20_000


@gpu
@pytest.mark.parametrize("settings", [QRNNSettings(), AWDLSTMSettings(), LSTM], ids=["qrnn", "awd_lstm", "lstm4x1550"])
def test_tokens_per_second_in_training(settings: EncoderSettings, tmp_path: Path) -> None:
    data = streams.training_data(tmp_path, LANES * 68 * STEPS)
    training = LMTrainingSettings(
        num_lanes=LANES, log_points=STEPS // STRETCH, valid_lanes=256, device="cuda", checkpoint_seconds=0
    )
    model = LanguageModel(streams.VOCAB, settings, 1)
    torch.cuda.reset_peak_memory_stats()
    result = train_lm(model, data, training, Group.single(), CheckpointFolder(tmp_path / "c"), Silent())
    speed = median(point["tokens_per_s"] for point in result.curves["points"][3:])
    name, memory = torch.cuda.get_device_name(), torch.cuda.max_memory_reserved() / 2**30
    sizes = f"{settings.encoder} {settings.num_layers} x {settings.hidden_size}"
    print(f"\n{name}, {sizes}, {LANES} lanes, {streams.VOCAB:,} words: {speed:,.0f} tokens/s, {memory:.1f} GiB")
    assert speed > 0


@gpu
def test_the_kernels_of_a_layer() -> None:
    columns = -(-3 * UNITS // 8) * 8
    gates = torch.randn(T, LANES, columns, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    cell = torch.zeros(LANES, UNITS, device="cuda")
    dout = torch.randn(T, LANES, UNITS, device="cuda", dtype=torch.bfloat16)
    times: list[list[float]] = [[], []]
    for _ in range(20):
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(3)]
        marks[0].record()
        out = fo_pool(gates, cell).out_TBH
        marks[1].record()
        out.backward(dout)
        marks[2].record()
        torch.cuda.synchronize()
        gates.grad = None
        for kernel, (start, end) in enumerate([marks[:2], marks[1:]]):
            times[kernel].append(start.elapsed_time(end))
    # bf16 numbers a step and unit: three gates, cell and output; three gates, two cells in one, the gradient, three.
    for name, values, moved in zip(("forward", "backward"), times, (5, 8), strict=True):
        ms, size = median(values[5:]), 2 * moved * T * LANES * UNITS
        print(f"\nfo-pooling {name}, {LANES} lanes x {T} x {UNITS}: {ms:.3f} ms, {size / ms / 1e9:.2f} TB/s")
        assert ms > 0
