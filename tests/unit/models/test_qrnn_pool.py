"""fo-pooling: the scan against the recurrence step by step, and its gradients against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ulmfit_dist.models.qrnn_pool import Pooled, fo_pool, linear_scan_, plain_fo_pool

LANES, SIZE = 3, 5


def _inputs(steps: int, columns: int = 3 * SIZE, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(steps)
    gates = scale * torch.randn(steps, LANES, columns, generator=generator, dtype=torch.float64)
    return gates, torch.randn(LANES, SIZE, generator=generator, dtype=torch.float64)


def _gradients(pooled: Pooled, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros((), dtype=torch.float64)
    for part in pooled:
        total = total + (part * torch.randn(part.shape, generator=generator, dtype=torch.float64)).sum()
    return torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8, 9, 15, 70])
@pytest.mark.parametrize("columns", [3 * SIZE, 3 * SIZE + 1])
def test_outputs_and_gradients_equal_the_definition(steps: int, columns: int) -> None:
    gates, cell = (tensor.requires_grad_() for tensor in _inputs(steps, columns))
    ours, plain = fo_pool(gates, cell), plain_fo_pool(gates, cell)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(_gradients(ours, (gates, cell)), _gradients(plain, (gates, cell)))


@pytest.mark.parametrize("steps", [1, 5, 11])
def test_gradients_are_those_of_finite_differences(steps: int) -> None:
    gates, cell = (tensor.requires_grad_() for tensor in _inputs(steps, 3 * SIZE + 2))
    assert torch.autograd.gradcheck(lambda *given: tuple(fo_pool(*given)), (gates, cell))


def test_columns_after_the_gates_get_no_gradient() -> None:
    gates, cell = _inputs(6, 3 * SIZE + 2)
    gates.requires_grad_()
    fo_pool(gates, cell).out_TBH.sum().backward()
    assert gates.grad is not None
    assert gates.grad[..., : 3 * SIZE].all()
    assert not gates.grad[..., 3 * SIZE :].any()


def test_shut_and_open_gates_neither_overflow_nor_lose_anything() -> None:
    # f of 1e-300 and of 1: products of hundreds of either, which a division by them would turn into nothing or nan.
    steps = 300
    gates, cell = _inputs(steps, scale=1.0)
    gates[..., SIZE : 2 * SIZE] = torch.tensor([-700.0, 700.0, -40.0, 40.0, 0.0])
    gates.requires_grad_()
    ours, plain = fo_pool(gates, cell), plain_fo_pool(gates, cell)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(ours.cell_BH[:, 1], cell[:, 1])
    torch.testing.assert_close(_gradients(ours, (gates,)), _gradients(plain, (gates,)))


def test_float32_stays_close_over_a_long_text() -> None:
    gates, cell = _inputs(1400)
    exact = plain_fo_pool(gates, cell)
    ours = fo_pool(gates.float(), cell.float())
    torch.testing.assert_close(ours.out_TBH.double(), exact.out_TBH, rtol=1e-5, atol=1e-6)


def test_bf16_gates_keep_a_float32_cell() -> None:
    gates, cell = _inputs(20)
    low = gates.bfloat16().requires_grad_()
    ours = fo_pool(low, cell.float())
    assert (ours.out_TBH.dtype, ours.cell_BH.dtype) == (torch.bfloat16, torch.float32)
    exact = plain_fo_pool(low.detach().double(), cell.float().double())
    torch.testing.assert_close(ours.cell_BH.double(), exact.cell_BH, rtol=1e-5, atol=1e-6)
    ours.out_TBH.sum().backward()
    assert low.grad is not None
    assert low.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 5, 16, 23])
def test_the_scan_is_the_recurrence(steps: int, reverse: bool) -> None:
    gates, first = _inputs(steps)
    products, cells = gates[..., :SIZE].sigmoid(), gates[..., SIZE : 2 * SIZE].contiguous()
    expected, cell = torch.empty_like(cells), first
    for t in reversed(range(steps)) if reverse else range(steps):
        expected[t] = cell = products[t] * cell + cells[t]
    linear_scan_(products.clone(), cells, first, reverse=reverse)
    torch.testing.assert_close(cells, expected)
