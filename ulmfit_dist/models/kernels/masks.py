"""Dropout masks drawn on the GPU from keys that lie on the GPU, so that a captured graph draws new ones every step."""

# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - Triton's own style: untyped, no settings object, constants upper
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator,no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024


def fill_mask(out: Tensor, key: Tensor, p: float, first_row: int = 0) -> None:
    """Fill a matrix (rows, columns), whose rows may lie apart, with 0 and 1/(1-p).

    Element (r, c) is kept if the Philox number of counter (first_row + r) * columns + c under `key` int64 () is below
    1 - p: a pure function of the key and the place, whatever part of the rows a rank holds.
    """
    rows, columns = out.shape
    grid = (rows, triton.cdiv(columns, _BLOCK))
    _fill_mask[grid](out, key, first_row, columns, out.stride(0), 1.0 - p, BLOCK=_BLOCK)


@triton.jit
def _fill_mask(out, key, first_row, columns, stride, keep, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    uniform = tl.rand(tl.load(key), (first_row + row) * columns + column)
    value = tl.where(uniform < keep, 1.0 / keep, 0.0)
    tl.store(out + row.to(tl.int64) * stride + column, value, mask=column < columns)
