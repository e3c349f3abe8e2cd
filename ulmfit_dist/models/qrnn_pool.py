"""fo-pooling, the recurrence of a QRNN (Bradbury et al. 2016, equation 4): no product of matrices, only columns.

    c_t = f_t c_(t-1) + (1 - f_t) z_t        h_t = o_t c_t        z = tanh, f and o = sigmoid of the gates

`plain_fo_pool` says it step by step and defines the truth. `fo_pool` is one autograd function: a kernel of Triton on a
GPU (`qrnn_triton`), elsewhere a scan over blocks of the window.
"""

# ruff: noqa: N803, N806, N815 - shape suffixes; the legend is in the package docstring; G: at least 3H
from __future__ import annotations

import functools
import importlib.util
import math
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Pooled(NamedTuple):
    """The outputs in the dtype of the gates (T, B, H) and the last cell in that of the first (B, H)."""

    out_TBH: Tensor
    cell_BH: Tensor


def plain_fo_pool(gates_TBG: Tensor, cell_BH: Tensor) -> Pooled:
    """Return outputs and last cell: the definition, step by step."""
    outputs, size = [], cell_BH.shape[1]
    for gates in gates_TBG:
        z, f, o = gates[:, :size].tanh(), gates[:, size : 2 * size].sigmoid(), gates[:, 2 * size : 3 * size].sigmoid()
        cell_BH = f * cell_BH + (1 - f) * z
        outputs.append(o * cell_BH)
    return Pooled(torch.stack(outputs), cell_BH)


def fo_pool(gates_TBG: Tensor, cell_BH: Tensor) -> Pooled:
    """Return outputs and last cell, differentiable in both arguments.

    Args: gates in columns z, f, o of H each, any further columns are not read; cell float32 also where gates are bf16.
    """
    if gates_TBG.is_cuda and _triton_found():
        from ulmfit_dist.models.qrnn_triton import KernelPool

        return Pooled(*KernelPool.apply(gates_TBG, cell_BH))  # type: ignore[no-untyped-call]
    return Pooled(*ScanPool.apply(gates_TBG, cell_BH))  # type: ignore[no-untyped-call]


def linear_scan_(products_TBH: Tensor, cells_TBH: Tensor, first_BH: Tensor, *, reverse: bool = False) -> None:
    """Replace each of `cells` by c_t = p_t c_(t-1) + cells_t, where c_(-1) is `first`; `products` p are used up.

    In reverse c_t = p_t c_(t+1) + cells_t, from the last step down. About sqrt(T) blocks are walked at once, each from
    zero, then linked: c_t is a block's own value and the product of its p up to t times the value that the block before
    ended with. Products are only multiplied by, never divided by. Forward on one CPU core, T 70, ms for (B, H) beside a
    walk over all T steps and doubling (log T passes): (1, 400) 0.11, 0.15, 0.15; (16, 400) 0.31, 0.22, 1.21;
    (64, 1550) 7.3, 2.4, 44, where the gates' product takes 1,100.
    """
    steps, length, turn = len(cells_TBH), math.isqrt(len(cells_TBH)), -1 if reverse else 1
    cut = steps % length if reverse else steps - steps % length
    parts = [(cells_TBH[:cut], products_TBH[:cut]), (cells_TBH[cut:], products_TBH[cut:])]
    inside, outside = parts[::turn]
    cells, products = (part.view(-1, length, *first_BH.shape) for part in inside)
    columns = list(zip(cells.unbind(1), products.unbind(1), strict=True))[::turn]
    for (before, product_before), (cell, product) in pairwise(columns):
        cell.addcmul_(product, before)
        product.mul_(product_before)
    end = first_BH
    for block, product in list(zip(cells, products, strict=True))[::turn]:
        end = block.addcmul_(product, end)[0 if reverse else -1]
    for cell, product in list(zip(*outside, strict=True))[::turn]:
        end = cell.addcmul_(product, end)


class ScanPool(torch.autograd.Function):
    """fo-pooling in whole tensors; backward is the scan of the gradient from the last step to the first."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs and the last cell."""
        size = cell.shape[1]
        active = gates[..., : 3 * size].to(cell.dtype, copy=True)
        active[..., :size].tanh_()
        active[..., size:].sigmoid_()
        z, f, o = active.chunk(3, -1)
        cells = torch.addcmul(z, f, z, value=-1)
        linear_scan_(f.clone(), cells, cell)
        ctx.save_for_backward(active, cells, cell)
        ctx.gates = gates.shape, gates.dtype
        return (o * cells).to(gates.dtype), cells[-1].clone()

    @staticmethod
    def backward(ctx: Any, dout: Tensor, dlast: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of the gates and of the first cell."""
        active, cells, cell = ctx.saved_tensors
        shape, dtype = ctx.gates
        size, (z, f, o) = cell.shape[1], active.chunk(3, -1)
        dout = dout.to(cell.dtype)
        dcells = dout * o
        # A cell passes its gradient to the one before it through its f; dlast comes to the last one undamped.
        linear_scan_(torch.cat([f[1:], torch.ones_like(f[:1])]), dcells, dlast, reverse=True)
        dgates = cells.new_empty(shape)
        dgates[..., 3 * size :].zero_()
        dz, df, do = dgates[..., : 3 * size].chunk(3, -1)
        # Written in place: at (70, 64, 1550) fresh memory costs as much as computing in it.
        torch.addcmul(dcells, dcells, f, value=-1, out=dz)
        torch.ops.aten.tanh_backward.grad_input(dz, z, grad_input=dz)
        torch.sub(cell, z[0], out=df[0])
        torch.sub(cells[:-1], z[1:], out=df[1:])
        torch.ops.aten.sigmoid_backward.grad_input(df.mul_(dcells), f, grad_input=df)
        torch.mul(dout, cells, out=do)
        torch.ops.aten.sigmoid_backward.grad_input(do, o, grad_input=do)
        return dgates.to(dtype), dcells[0] * f[0]


@functools.cache
def _triton_found() -> bool:
    return importlib.util.find_spec("triton") is not None
