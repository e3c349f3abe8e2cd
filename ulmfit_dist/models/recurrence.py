"""One LSTM layer as one autograd function whose recurrence runs in a persistent kernel on Hopper GPUs.

`plain_lstm_layer` is the same layer in readable torch: it defines the truth. `padded_lstm_layer` runs a layer of any
size at one that GPUs like.
"""

# ruff: noqa: N803 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor

from ulmfit_dist.models import recurrence_cuda

LayerState = tuple[Tensor, Tensor]
_UNITS = 64


class LSTMWeights(NamedTuple):
    """A layer's ih (4H, I), hh (4H, H) with weight drop applied and bias (4H), the sum of both; gates i, f, g, o."""

    ih: Tensor
    hh: Tensor
    bias: Tensor


def plain_lstm_layer(x_TBI: Tensor, state: LayerState, weights: LSTMWeights) -> tuple[Tensor, LayerState]:
    """Return the outputs (T, B, H) and the new (hidden, cell), each (1, B, H): the definition, step by step."""
    hidden, cell = state[0][0], state[1][0]
    outputs = []
    for share in F.linear(x_TBI, weights.ih, weights.bias):
        i, f, g, o = (share + hidden @ weights.hh.t()).chunk(4, dim=-1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs), (hidden[None], cell[None])


Layer = Callable[[Tensor, LayerState, LSTMWeights], tuple[Tensor, LayerState]]


def padded_size(size: int, multiple: int = _UNITS) -> int:
    """Return the next multiple, of 64 for units: cuDNN is 1.8 times as fast at 1152 as at 1150, our kernel needs it."""
    return -(-size // multiple) * multiple


def padded_lstm_layer(
    layer: Layer, x_TBI: Tensor, state: LayerState, weights: LSTMWeights
) -> tuple[Tensor, LayerState]:
    """Return what `layer` makes of these at padded sizes, without the padding.

    A padded unit has zero weights: its gate g is 0, so that its cell stays 0, and no gradient enters or leaves it.
    """
    inputs, size = weights.ih.shape[1], weights.hh.shape[1]
    width, columns = padded_size(size) - size, padded_size(inputs) - inputs
    ih, hh, bias = (tensor.view(4, size, *tensor.shape[1:]) for tensor in weights)
    padded = LSTMWeights(
        F.pad(ih, (0, columns, 0, width)).flatten(0, 1),
        F.pad(hh, (0, width, 0, width)).flatten(0, 1),
        F.pad(bias, (0, width)).flatten(),
    )
    hidden, cell = (F.pad(tensor, (0, width)) for tensor in state)
    out, (hidden, cell) = layer(F.pad(x_TBI, (0, columns)), (hidden, cell), padded)
    return out[..., :size], (hidden[..., :size], cell[..., :size])


def cudnn_lstm_layer(x_TBI: Tensor, state: LayerState, weights: LSTMWeights) -> tuple[Tensor, LayerState]:
    """Return what cuDNN computes, all in the type of x."""
    hidden, cell = (tensor.to(x_TBI.dtype) for tensor in state)
    return torch_lstm(x_TBI, (hidden, cell), [*weights, torch.zeros_like(weights.bias)])


def torch_lstm(x_TBI: Tensor, state: LayerState, parameters: Sequence[Tensor]) -> tuple[Tensor, LayerState]:
    """Return what torch's own LSTM computes of ih, hh and both biases, all of one type."""
    # (has biases, layers, dropout, training: keeps what backward needs, bidirectional, batch first)
    flags = (True, 1, 0.0, True, False, False)
    out, hidden, cell = torch._VF.lstm(x_TBI, list(state), list(parameters), *flags)  # noqa: SLF001
    return out, (hidden, cell)


def supported(x_TBI: Tensor, hidden_size: int) -> bool:
    """Whether `lstm_layer` takes these: bfloat16 on a Hopper GPU, hidden size a multiple of 64 up to 1024, or 1152.

    The first call for a size compiles for about a second; a GPU that cannot hold all blocks at once is refused.
    """
    return x_TBI.dtype == torch.bfloat16 and x_TBI.is_cuda and recurrence_cuda.available(x_TBI.device, hidden_size)


def lstm_layer(x_TBI: Tensor, state: LayerState, weights: LSTMWeights) -> tuple[Tensor, LayerState]:
    """Return the outputs bf16 (T, B, H) and the new state: hidden bf16, cell float32, each (1, B, H), without gradient.

    x and weights are bf16; the state (any float type) gets no gradient: back-propagation through time is truncated at
    the window. Any number of lanes. The outputs must not be changed in place. Only one call at a time may run on a GPU:
    two on two streams could wait for each other's blocks for ever.
    """
    out, hidden, cell = _Layer.apply(x_TBI.contiguous(), *state, *weights)  # type: ignore[no-untyped-call]
    return out, (hidden, cell)


class _Layer(torch.autograd.Function):
    """The input's product, the recurrence and, backward, the gradients of everything but the state."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden0, cell0, ih, hh, bias = rest
        steps, lanes, inputs = x.shape
        size = hh.shape[1]
        order = recurrence_cuda.gate_order(size, x.device)
        ih = ih.index_select(0, order)
        gates = torch.addmm(bias[order], x.view(-1, inputs), ih.t()).view(steps, lanes, 4 * size)
        hidden, cells = (x.new_empty(steps + 1, lanes, size) for _ in range(2))
        hidden[0], cells[0] = hidden0[0], cell0[0]
        cell = cell0.detach().float().clone()
        # The gates are overwritten by their activations: at 512 lanes they are 330 MB a layer, the most of its memory.
        recurrence_cuda.run_forward(gates, hh, hidden, cells, cell)
        ctx.save_for_backward(x, ih, hh, gates, hidden, cells)
        last = hidden[-1:].clone()
        ctx.mark_non_differentiable(last, cell)
        return hidden[1:], last, cell

    @staticmethod
    def backward(ctx: Any, dout: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, ih, hh, gates, hidden, cells = ctx.saved_tensors
        wants = ctx.needs_input_grad
        dgates = torch.empty_like(gates)
        recurrence_cuda.run_backward(gates, hh, cells, dout.contiguous(), dgates)
        rows = dgates.view(-1, dgates.shape[-1])
        place = recurrence_cuda.gate_place(hh.shape[1], x.device)
        dx = (rows @ ih).view_as(x) if wants[0] else None
        dih = (rows.t() @ x.view(-1, x.shape[-1]))[place] if wants[3] else None
        dhh = (rows.t() @ hidden[:-1].view(-1, hidden.shape[-1]))[place] if wants[4] else None
        dbias = rows.sum(0, dtype=torch.float32).to(rows.dtype)[place] if wants[5] else None
        return dx, None, None, dih, dhh, dbias
