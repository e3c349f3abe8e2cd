"""The last layer's dropout, which also lays out the decoder's input; backward with AR and TAR in the same pass."""

# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - Triton's own style: untyped, no settings object, constants upper
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator,no-untyped-def"
from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class Decoder(NamedTuple):
    """The decoder's table bf16 (V, K): E columns of weight, two of bias (high and low half), the rest zero."""

    table: Tensor
    size: int


class DecoderInput(NamedTuple):
    """Rows bf16 (N, K), 1 in the columns of the bias after the first `size`; float32 (N,) scores of their targets."""

    rows: Tensor
    at_target: Tensor
    size: int


def decoder_input(raw_TBE: Tensor, mask: Tensor | None, decoder: Decoder, targets_N: Tensor) -> DecoderInput:
    """Drop the last layer's output (T, B, at least E) by mask bf16 (B, E); a target below 0 stands for none."""
    count, columns = targets_N.numel(), decoder.table.shape[1]
    rows = torch.empty(count, columns, dtype=torch.bfloat16, device=raw_TBE.device)
    at_target = torch.empty(count, dtype=torch.float32, device=raw_TBE.device)
    numbers = (raw_TBE.shape[1], decoder.size, raw_TBE.shape[2], columns)
    block = triton.next_power_of_2(columns)
    _decoder_input[(count,)](raw_TBE, mask, decoder.table, targets_N, rows, at_target, *numbers, BLOCK=block)
    return DecoderInput(rows, at_target, decoder.size)


class RowGradient(NamedTuple):
    """Gradient bf16 (N, K) of the decoder's input before each row's factor float32 (N,), and AR's and TAR's factors."""

    rows: Tensor
    factors: Tensor
    penalties: Tensor


def output_gradient(
    raw_TBE: Tensor, mask: Tensor | None, given: DecoderInput, gradient: RowGradient, targets_N: Tensor
) -> Tensor:
    """Return the gradient bf16 (T, B, ...) of the last layer's output: cross entropy's, AR's and TAR's.

    `penalties` float32 (2,): d(AR)/d(sum of squares) and d(TAR)/d(sum of squared changes). Columns past E get zero.
    """
    out = torch.empty_like(raw_TBE)
    _, lanes, width = raw_TBE.shape
    numbers = (targets_N.numel(), lanes, given.size, width, gradient.rows.shape[1])
    block = triton.next_power_of_2(width)
    _output_gradient[(targets_N.numel(),)](raw_TBE, mask, given.rows, *gradient, targets_N, out, *numbers, BLOCK=block)
    return out


@triton.jit
def _decoder_input(raw, mask, table, targets, rows, at_target, lanes, size, width, columns, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    target = tl.load(targets + place)
    value = tl.load(raw + place * width + column, mask=column < size, other=0.0).to(tl.float32)
    if mask is not None:
        value *= tl.load(mask + (place % lanes) * size + column, mask=column < size, other=0.0).to(tl.float32)
    value = tl.where((column >= size) & (column < size + 2), 1.0, value).to(tl.bfloat16)
    tl.store(rows + place * columns + column, value, mask=column < columns)
    word = tl.load(table + target * columns + column, mask=(column < columns) & (target >= 0), other=0.0)
    tl.store(at_target + place, tl.sum(value.to(tl.float32) * word.to(tl.float32), 0))


@triton.jit
def _output_gradient(
    raw, mask, rows, gradient, factors, penalties, targets, out, count, lanes, size, width, columns, BLOCK: tl.constexpr
):
    place = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    real = column < size
    valid = tl.load(targets + place) >= 0
    value = tl.load(gradient + place * columns + column, mask=real, other=0.0).to(tl.float32) * tl.load(factors + place)
    dropped = tl.load(rows + place * columns + column, mask=real & valid, other=0.0).to(tl.float32)
    value += 2.0 * tl.load(penalties) * dropped
    if mask is not None:
        value *= tl.load(mask + (place % lanes) * size + column, mask=real, other=0.0).to(tl.float32)
    # Valid places are a prefix of each lane: a pair of neighbours counts when its later place is valid.
    has_before = valid & (place >= lanes)
    has_after = tl.load(targets + place + lanes, mask=place + lanes < count, other=-1) >= 0
    here = tl.load(raw + place * width + column, mask=real, other=0.0).to(tl.float32)
    before = tl.load(raw + (place - lanes) * width + column, mask=real & has_before, other=0.0).to(tl.float32)
    after = tl.load(raw + (place + lanes) * width + column, mask=real & has_after, other=0.0).to(tl.float32)
    change = tl.where(has_before, here - before, 0.0) - tl.where(has_after, after - here, 0.0)
    value += 2.0 * tl.load(penalties + 1) * change
    tl.store(out + place * width + column, tl.where(real, value, 0.0), mask=column < width)
