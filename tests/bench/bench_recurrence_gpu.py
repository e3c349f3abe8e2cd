"""Time of the three LSTM layers on one Hopper GPU, ours beside cuDNN's, both replayed from CUDA graphs.

    pytest -m slow -s tests/bench/bench_recurrence_gpu.py

Sizes of the 60k-word model, padded: 448 -> 1152 -> 1152 -> 448, 70 steps. Forward, backward and the gradients of the
weights; the latter by difference to a run without them.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import pytest
import torch
from torch import Tensor

from ulmfit_dist.models.recurrence import Layer, LSTMWeights, cudnn_lstm_layer, lstm_layer, supported

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

STEPS, SIZES = 70, ((448, 1152), (1152, 1152), (1152, 448))
LANES = (64, 128, 256, 512, 1024)
TARGET = 10.0  # ms, forward and backward at 512 lanes; cuDNN eager was 17.6


def _milliseconds(work: Callable[[], object]) -> float:
    """Return the median time of 15 replays of a graph of `work`."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    times = []
    for _ in range(15):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return float(median(times))


def _layer_times(layer: Layer, lanes: int, inputs: int, size: int) -> tuple[float, float, float]:
    """Return forward, backward without and with the weights' gradients, in ms."""

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, device="cuda").sub(0.5).mul(2 * float(size) ** -0.5).bfloat16()

    x = draw(STEPS, lanes, inputs).mul_(size**0.5).requires_grad_()
    weights = LSTMWeights(draw(4 * size, inputs), draw(4 * size, size), draw(4 * size))
    state = draw(1, lanes, size), draw(1, lanes, size).float()
    dout = draw(STEPS, lanes, size)

    def both() -> None:
        leaves = [leaf for leaf in (x, *weights) if leaf.requires_grad]
        torch.autograd.grad(layer(x, state, weights)[0], leaves, dout)

    forward = _milliseconds(lambda: layer(x, state, weights))
    data = _milliseconds(both)
    for weight in weights:
        weight.requires_grad_()
    return forward, data - forward, _milliseconds(both) - forward


def test_three_layers() -> None:
    assert supported(torch.empty(0, dtype=torch.bfloat16, device="cuda:0"), 1152)
    print(f"\n{torch.cuda.get_device_name()}, {STEPS} steps, ms of three layers from CUDA graphs")
    print("lanes  layer  forward  backward  weights  all")
    totals = {}
    for lanes in LANES:
        for name, layer in (("ours", lstm_layer), ("cuDNN", cudnn_lstm_layer)):
            parts = [_layer_times(layer, lanes, *sizes) for sizes in SIZES]
            forward, data, whole = (sum(column) for column in zip(*parts, strict=True))
            totals[name, lanes] = forward + whole
            print(
                f"{lanes:5}  {name:5} {forward:8.2f} {data:9.2f} {whole - data:8.2f} {forward + whole:6.2f}", flush=True
            )
    assert totals["ours", 512] <= TARGET
    assert all(totals["ours", lanes] < totals["cuDNN", lanes] for lanes in LANES)
