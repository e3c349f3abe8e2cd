"""The embedded tokens with their dropouts, and the rows' gradient, added into the decoder's."""

# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - Triton's own style: untyped, no settings object, constants upper
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator,no-untyped-def"
from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class TokenMasks(NamedTuple):
    """Masks of the words (V,) and of the embedded tokens (B, E), both float32; None drops nothing."""

    words: Tensor | None
    inputs: Tensor | None


def embed(ids_TB: Tensor, table_VE: Tensor, masks: TokenMasks, width: int) -> Tensor:
    """Return the masked rows as bfloat16 (T, B, width); columns past E are zero."""
    size = table_VE.shape[1]
    out = torch.empty(*ids_TB.shape, width, dtype=torch.bfloat16, device=ids_TB.device)
    block = triton.next_power_of_2(width)
    _embed[(ids_TB.numel(),)](ids_TB, table_VE, *masks, out, ids_TB.shape[1], size, width, BLOCK=block)
    return out


def add_embedding_gradient(ids_TB: Tensor, gradient: Tensor, masks: TokenMasks, pad_id: int, out: Tensor) -> None:
    """Add the gradient (T, B, width) of `embed` to `out` float32 (V, E), whose rows may lie apart; not to the pad row.

    Atomic additions: their order, and so the last bit, differs from run to run.
    """
    width = gradient.shape[2]
    numbers = (ids_TB.shape[1], out.shape[1], width, out.stride(0), pad_id)
    _embed_backward[(ids_TB.numel(),)](ids_TB, gradient, *masks, out, *numbers, BLOCK=triton.next_power_of_2(width))


@triton.jit
def _embed(ids, table, words, inputs, out, lanes, size, width, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    word = tl.load(ids + place)
    value = tl.load(table + word * size + column, mask=column < size, other=0.0)
    if words is not None:
        value *= tl.load(words + word)
    if inputs is not None:
        value *= tl.load(inputs + (place % lanes) * size + column, mask=column < size, other=0.0)
    tl.store(out + place * width + column, value, mask=column < width)


@triton.jit
def _embed_backward(ids, gradient, words, inputs, out, lanes, size, width, stride, pad_id, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    word = tl.load(ids + place)
    value = tl.load(gradient + place * width + column, mask=column < size, other=0.0).to(tl.float32)
    if words is not None:
        value *= tl.load(words + word)
    if inputs is not None:
        value *= tl.load(inputs + (place % lanes) * size + column, mask=column < size, other=0.0)
    # What is dropped adds nothing: with a quarter dropped, a quarter fewer atomics.
    tl.atomic_add(out + word * stride + column, value, mask=(value != 0.0) & (word != pad_id), sem="relaxed")
