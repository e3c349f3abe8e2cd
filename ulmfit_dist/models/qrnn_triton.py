"""fo-pooling on a GPU: every column, a unit of a lane, is walked by one thread that keeps its cell in a register.

What it computes is what `qrnn_pool.plain_fo_pool` says. Each step reads the gates and writes the output once, which is
all that a step must move; 512 lanes of 1550 units are 800 thousand threads, more than enough to hide the memory's wait.
"""

# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - Triton's own style: untyped, no settings object, constants upper
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator,no-untyped-def"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK, _WARPS = 128, 4


class KernelPool(torch.autograd.Function):
    """The two kernels as one function; cells are kept for backward in the dtype of the gates."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs and the last cell."""
        gates, cell = gates.contiguous(), cell.contiguous()
        steps, (lanes, size) = len(gates), cell.shape
        out, cells, last = gates.new_empty(steps, lanes, size), gates.new_empty(steps + 1, lanes, size), cell.clone()
        cells[0] = cell
        numbers = (steps, lanes, size, gates.shape[-1])
        _forward[_grid(cell)](gates, out, cells[1:], last, *numbers, BLOCK=_BLOCK, num_warps=_WARPS)
        ctx.save_for_backward(gates, cells)
        return out, last

    @staticmethod
    def backward(ctx: Any, dout: Tensor, dlast: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of the gates and of the first cell."""
        gates, cells = ctx.saved_tensors
        steps, lanes, size = dout.shape
        dgates, dcell = torch.empty_like(gates), dlast.clone(memory_format=torch.contiguous_format)
        dgates[..., 3 * size :].zero_()
        numbers = (steps, lanes, size, gates.shape[-1])
        # The kernel walks down from the last step of each.
        ends = (tensor[-1] for tensor in (gates, cells, dout.contiguous(), dgates))
        _backward[_grid(dcell)](*ends, dcell, *numbers, BLOCK=_BLOCK, num_warps=_WARPS)
        return dgates, dcell


def _grid(cell: Tensor) -> tuple[int]:
    return (triton.cdiv(cell.numel(), _BLOCK),)


@triton.jit
def _forward(gates, out, cells, last, steps, lanes, size, columns, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    real = place < lanes * size
    gate = place // size * columns + place % size
    cell = tl.load(last + place, mask=real, other=0.0).to(tl.float32)
    for _ in range(steps):
        z = tl.load(gates + gate, mask=real, other=0.0).to(tl.float32)
        f = tl.sigmoid(tl.load(gates + gate + size, mask=real, other=0.0).to(tl.float32))
        o = tl.sigmoid(tl.load(gates + gate + 2 * size, mask=real, other=0.0).to(tl.float32))
        z = 2.0 * tl.sigmoid(2.0 * z) - 1.0  # tanh
        cell = f * cell + (1.0 - f) * z
        tl.store(cells + place, cell, mask=real)
        tl.store(out + place, o * cell, mask=real)
        gates += lanes * columns
        cells += lanes * size
        out += lanes * size
    tl.store(last + place, cell, mask=real)


@triton.jit
def _backward(gates, cells, dout, dgates, dfirst, steps, lanes, size, columns, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    real = place < lanes * size
    gate = place // size * columns + place % size
    dcell = tl.load(dfirst + place, mask=real, other=0.0).to(tl.float32)
    cell = tl.load(cells + place, mask=real, other=0.0).to(tl.float32)
    for _ in range(steps):
        cells -= lanes * size
        before = tl.load(cells + place, mask=real, other=0.0).to(tl.float32)
        z = tl.load(gates + gate, mask=real, other=0.0).to(tl.float32)
        f = tl.sigmoid(tl.load(gates + gate + size, mask=real, other=0.0).to(tl.float32))
        o = tl.sigmoid(tl.load(gates + gate + 2 * size, mask=real, other=0.0).to(tl.float32))
        z = 2.0 * tl.sigmoid(2.0 * z) - 1.0
        change = tl.load(dout + place, mask=real, other=0.0).to(tl.float32)
        dcell += change * o
        tl.store(dgates + gate, dcell * (1.0 - f) * (1.0 - z * z), mask=real)
        tl.store(dgates + gate + size, dcell * (before - z) * f * (1.0 - f), mask=real)
        tl.store(dgates + gate + 2 * size, change * cell * o * (1.0 - o), mask=real)
        dcell *= f
        cell = before
        gates -= lanes * columns
        dgates -= lanes * columns
        dout -= lanes * size
    tl.store(dfirst + place, dcell, mask=real)
