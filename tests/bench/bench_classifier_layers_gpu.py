"""Time of a classifier's three LSTM layers on one GPU, as they are and as torch's own LSTM takes them unpadded.

    pytest -m slow -s tests/bench/bench_classifier_layers_gpu.py

Sizes of the 60k-word model: 400 -> 1150 -> 1150 -> 400, chunks of 70 tokens, bfloat16, each layer called as the encoder
calls it (no CUDA graph, weights as the masters hold them). Outputs are compared with those in float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest
import torch
from torch import Tensor

from ulmfit_dist.models.awd_lstm import LSTMLayer
from ulmfit_dist.models.recurrence import LayerState, torch_lstm

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

STEPS, SIZES = 70, ((400, 1150), (1150, 1150), (1150, 400))
LANES = (1, 2, 3, 5, 8, 17, 32, 48, 64, 130, 256)
Run = Callable[[LSTMLayer, Tensor, LayerState], Tensor]


def _padded(layer: LSTMLayer, x: Tensor, state: LayerState) -> Tensor:
    with torch.autocast("cuda", torch.bfloat16):
        return layer(x, state, None)[0]


def _unpadded(layer: LSTMLayer, x: Tensor, state: LayerState) -> Tensor:
    weights = (layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh)
    hidden, cell = (part.bfloat16() for part in state)
    return torch_lstm(x.bfloat16(), (hidden, cell), [weight.bfloat16() for weight in weights])[0]


def _exact(layer: LSTMLayer, x: Tensor, state: LayerState) -> Tensor:
    return layer(x, state, None)[0]


def _layers() -> list[LSTMLayer]:
    generator = torch.Generator("cuda").manual_seed(0)
    layers = [LSTMLayer(*sizes).cuda() for sizes in SIZES]
    for layer in layers:
        reach = layer.initial_range()
        for parameter in layer.parameters():
            torch.nn.init.uniform_(parameter, -reach, reach, generator=generator)
    return layers


def _through(run: Run, layers: list[LSTMLayer], x: Tensor) -> Tensor:
    for layer in layers:
        x = run(layer, x, layer.initial_state(x.shape[1], x.device))
    return x.float()


def _milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times) * 1e3


def test_layers() -> None:
    layers = _layers()
    print(f"\n{torch.cuda.get_device_name()}, {STEPS} steps, ms of three layers; padded / unpadded")
    print("lanes  forward and backward  prediction  largest error")
    for lanes in LANES:
        x = torch.randn(STEPS, lanes, SIZES[0][0], device="cuda", requires_grad=True)
        trained, predicted, errors = [], [], []
        with torch.no_grad():
            exact = _through(_exact, layers, x)
        for run in (_padded, _unpadded):
            trained.append(_milliseconds(lambda run=run, x=x: _through(run, layers, x).sum().backward()))
            with torch.no_grad():
                predicted.append(_milliseconds(lambda run=run, x=x: _through(run, layers, x)))
                errors.append(float((_through(run, layers, x) - exact).abs().max()))
        print(
            f"{lanes:5}  {trained[0]:8.2f} / {trained[1]:8.2f}  {predicted[0]:6.2f} / {predicted[1]:6.2f}  "
            f"{errors[0]:.4f} / {errors[1]:.4f}",
            flush=True,
        )
        assert errors[0] < 0.01 * float(exact.abs().max())
        assert trained[0] < trained[1]
