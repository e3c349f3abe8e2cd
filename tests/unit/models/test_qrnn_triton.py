"""The kernels against the definition: on a GPU, or with TRITON_INTERPRET=1 where Triton is installed without one."""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch
from torch import Tensor

from ulmfit_dist.models.qrnn_pool import Pooled, fo_pool, plain_fo_pool

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="no GPU here")
# (steps, lanes, units, columns): one step; more than a block of threads; sizes that no block divides; columns unread.
SHAPES = [(1, 2, 3, 9), (5, 3, 50, 150), (16, 4, 16, 48), (7, 3, 33, 104)]


def _inputs(shape: tuple[int, int, int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    steps, lanes, size, columns = shape
    generator = torch.Generator().manual_seed(steps)
    gates = 2 * torch.randn(steps, lanes, columns, generator=generator)
    cell = torch.randn(lanes, size, generator=generator)
    return gates.to(DEVICE, dtype).requires_grad_(), cell.to(DEVICE).requires_grad_()


def _kernels(gates: Tensor, cell: Tensor) -> Pooled:
    from ulmfit_dist.models.qrnn_triton import KernelPool

    return Pooled(*KernelPool.apply(gates, cell))


def _results(pooled: Pooled, inputs: tuple[Tensor, Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    total = sum((part * torch.randn(part.shape, generator=generator).to(DEVICE)).sum() for part in pooled)
    gradients = torch.autograd.grad(total, inputs)
    return [part.detach().double() for part in (*pooled, *gradients)]


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_equals_the_definition(shape: tuple[int, int, int, int]) -> None:
    inputs = _inputs(shape, torch.float32)
    exact = tuple(tensor.detach().double().requires_grad_() for tensor in inputs)
    for ours, plain in zip(_results(_kernels(*inputs), inputs), _results(plain_fo_pool(*exact), exact), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_bfloat16_is_the_definition_rounded(shape: tuple[int, int, int, int]) -> None:
    gates, cell = _inputs(shape, torch.bfloat16)
    exact = (gates.detach().double().requires_grad_(), cell.detach().double().requires_grad_())
    pooled = _kernels(gates, cell)
    assert (pooled.out_TBH.dtype, pooled.cell_BH.dtype) == (torch.bfloat16, torch.float32)
    ours, plain = _results(pooled, (gates, cell)), _results(plain_fo_pool(*exact), exact)
    torch.testing.assert_close(ours[1], plain[1], rtol=1e-5, atol=3e-6)
    for index in (0, 2, 3):
        # 8 bits of mantissa, of the output, of the cells kept for backward and of the gradient that comes in.
        torch.testing.assert_close(ours[index], plain[index], rtol=2e-2, atol=2e-2)


def test_columns_after_the_gates_get_no_gradient() -> None:
    gates, cell = _inputs(SHAPES[3], torch.float32)
    _kernels(gates, cell).out_TBH.sum().backward()
    assert gates.grad is not None
    assert not gates.grad[..., 99:].any()
    assert gates.grad[..., :99].all()


def test_inputs_that_lie_apart_are_read_right() -> None:
    gates, cell = _inputs(SHAPES[1], torch.float32)
    apart = gates.detach().repeat_interleave(2, 1)[:, ::2].requires_grad_()
    ours, plain = _results(_kernels(apart, cell), (apart, cell)), _results(_kernels(gates, cell), (gates, cell))
    assert all(torch.equal(one, two) for one, two in zip(ours, plain, strict=True))


@pytest.mark.skipif(DEVICE == "cpu", reason="no GPU here")
def test_on_a_gpu_they_are_what_pooling_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from ulmfit_dist.models import qrnn_triton

    calls: list[int] = []
    launch = qrnn_triton.KernelPool.forward
    monkeypatch.setattr(qrnn_triton.KernelPool, "forward", lambda *given: (calls.append(1), launch(*given))[1])
    inputs = _inputs(SHAPES[1], torch.float32)
    assert torch.equal(fo_pool(*inputs).out_TBH, _kernels(*inputs).out_TBH)
    assert len(calls) == 2
