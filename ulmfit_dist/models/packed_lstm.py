"""An AWD-LSTM's layers on a CPU, made for prediction: one step of many lanes at a time, in float32 or int8.

The same function as `awd_lstm`, arranged for speed. Products take weights that oneDNN has laid out once (95 to 102
GFLOP/s a core at 400/1150/3, where unpacked ones reach 60 to 80). The first layer's product with the input is made once
for each word that occurs, not for each token. tanh(x) is 2 sigmoid(2x) - 1: torch's tanh takes 2.9 ns, its sigmoid 0.4.
So the rows of gate g are doubled, and kept are twice the cell and half the hidden: exact factors, without extra passes.
"""

# ruff: noqa: N803, N806 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor

from ulmfit_dist.errors import InputError
from ulmfit_dist.models.awd_lstm import AWDLSTM, LSTMLayer
from ulmfit_dist.models.encoder import Encoder

Precision = Literal["float32", "int8"]

_STEPS = 254  # of int8 between the lowest and the highest hidden, -1 and 1: half the hidden times 254 is -127 to 127
_ZERO = 128  # oneDNN's fast products of int8 take unsigned inputs: 128 stands for 0


class _Product(Protocol):
    """A product with the inputs (B, I) of a step, plus a bias or rows: the gates (B, 4H), gate g doubled."""

    def __call__(self, inputs_BI: Tensor, rows_BG: Tensor | None) -> Tensor: ...


class _Float32Product:
    """Weights float32, packed."""

    def __init__(self, weight_GI: Tensor, bias_G: Tensor | None, lanes: int) -> None:
        self._packed, self._bias_G = torch.ops.mkldnn._reorder_linear_weight(weight_GI, lanes), bias_G  # noqa: SLF001 - torch has no public name for it

    def __call__(self, inputs_BI: Tensor, rows_BG: Tensor | None) -> Tensor:
        product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - torch has no public name for it
        if rows_BG is None:
            return cast("Tensor", product(inputs_BI, self._packed, self._bias_G, "none", [], ""))
        return cast("Tensor", product.binary(inputs_BI, rows_BG, self._packed, None, "add"))


class _Int8Product:
    """Weights int8, a scale a gate's unit; inputs of one fixed scale. Sums of integers do not depend on their order."""

    def __init__(self, weight_GI: Tensor, bias_G: Tensor | None, lanes: int) -> None:
        scale_G = weight_GI.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
        rounded = (weight_GI / scale_G[:, None]).round().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(rounded, [lanes, weight_GI.shape[1]])
        self._scale_G, self._bias_G = scale_G, bias_G
        self._zeros_G = torch.zeros(len(scale_G), dtype=torch.int32)

    def __call__(self, inputs_BI: Tensor, rows_BG: Tensor | None) -> Tensor:
        product = torch.ops.onednn.qlinear_pointwise
        given = (inputs_BI, 1 / _STEPS, _ZERO, self._packed, self._scale_G, self._zeros_G)
        if rows_BG is None:
            return cast("Tensor", product(*given, self._bias_G, 1.0, 0, torch.float32, "none", [], ""))
        how = (1.0, 0, torch.float32, 1.0, 0, "add", 1.0, "none")
        return cast("Tensor", product.binary(*given, rows_BG, None, *how, [], ""))


class PackedLSTM:
    """The packed weights of an encoder: shared by threads, each with its `LaneState`.

    `supported` says of which encoders. Raises InputError for int8 on a CPU without products of int8.
    """

    def __init__(self, encoder: Encoder, precision: Precision = "float32", lanes: int = 128) -> None:
        if precision == "int8" and not torch.cpu._is_vnni_supported():  # noqa: SLF001 - torch has no public name for it
            do = 'predict with precision "float32"'
            raise InputError("this CPU has no products of int8", found="no AVX-512 VNNI", do=do)
        layers = cast("list[LSTMLayer]", encoder.layers())
        self.precision, self.sizes = precision, [layer.weight_hh.shape[1] for layer in layers]
        self._embedding = encoder.embedding.detach()
        self._ih, self._bias = _doubled_g(layers[0].weight_ih), _bias(layers[0])
        kind = _Int8Product if precision == "int8" else _Float32Product
        self.products: list[_Product] = []
        for index, layer in enumerate(layers):
            # The inputs are half the hiddens.
            weights = [layer.weight_ih, layer.weight_hh] if index else [layer.weight_hh]
            weight_GI = torch.cat([_doubled_g(weight) * 2 for weight in weights], 1)
            self.products.append(kind(weight_GI, _bias(layer) if index else None, lanes))

    def word_rows(self, ids_N: Tensor) -> Tensor:
        """Return what the first layer's gates get from each word (N, 4H)."""
        return F.linear(F.embedding(ids_N, self._embedding), self._ih, self._bias)


class _Views(NamedTuple):
    """A layer's tensors for its first lanes: inputs of its product, its own part and the next layer's, cell, hidden."""

    inputs: Tensor
    own: Tensor
    above: Tensor | None
    cell: Tensor
    hidden: Tensor


class LaneState:
    """The state of some lanes, all zero at first, moved on a step at a time."""

    def __init__(self, packed: PackedLSTM, lanes: int) -> None:
        self._products, self._sizes, self._int8 = packed.products, packed.sizes, packed.precision == "int8"
        self._zero = _ZERO if self._int8 else 0
        dtype = torch.uint8 if self._int8 else torch.float32
        # A layer's product takes the lower layer's hidden of this step and its own of the last.
        widths = [sum(self._sizes[max(index - 1, 0) : index + 1]) for index in range(len(self._sizes))]
        self._inputs = [torch.full((lanes, width), self._zero, dtype=dtype) for width in widths]
        self._cells = [torch.zeros(lanes, size) for size in self._sizes]
        self._hiddens = [torch.empty(lanes, size) for size in self._sizes]
        self._views: list[_Views] = []

    def clear(self, lanes: Tensor) -> None:
        """Set the state of some lanes (int64) to zero: a document starts there."""
        for tensor in self._inputs:
            tensor.index_fill_(0, lanes, self._zero)
        for tensor in self._cells:
            tensor.index_fill_(0, lanes, 0)

    def step(self, rows_BG: Tensor) -> Tensor:
        """Read a word in each of the first B lanes, given as its row; return half the last layer's outputs (B, E).

        The result is overwritten by the next step.
        """
        lanes, given = len(rows_BG), cast("Tensor | None", rows_BG)
        if not self._views or len(self._views[0].inputs) != lanes:
            self._views = [self._first(lanes, index) for index in range(len(self._sizes))]
        for product, size, views in zip(self._products, self._sizes, self._views, strict=True):
            gates = product(views.inputs, given).sigmoid_()
            i, f, g, o = gates.view(lanes, 4, size).unbind(1)
            views.cell.mul_(f).addcmul_(i, g, value=4).sub_(i, alpha=2)
            torch.sigmoid(views.cell, out=views.hidden).sub_(0.5).mul_(o)
            code = views.hidden
            if self._int8:  # cutting off after adding a half is rounding
                code = torch.mul(code, _STEPS).add_(_ZERO + 0.5)
            views.own.copy_(code)
            if views.above is not None:
                views.above.copy_(views.own)
            given = None
        return self._views[-1].hidden

    def _first(self, lanes: int, index: int) -> _Views:
        size, inputs = self._sizes[index], self._inputs[index][:lanes]
        above = self._inputs[index + 1][:lanes, :size] if index + 1 < len(self._sizes) else None
        return _Views(inputs, inputs[:, -size:], above, self._cells[index][:lanes], self._hiddens[index][:lanes])


def supported(encoder: Encoder) -> bool:
    """Whether `PackedLSTM` takes the encoder: LSTM layers in a CPU's memory, with a torch that has oneDNN."""
    onednn = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return onednn and isinstance(encoder, AWDLSTM) and encoder.embedding.device.type == "cpu"


def _doubled_g(weight: Tensor) -> Tensor:
    i, f, g, o = weight.detach().chunk(4)
    return torch.cat([i, f, 2 * g, o])


def _bias(layer: LSTMLayer) -> Tensor:
    return _doubled_g(layer.bias_ih + layer.bias_hh)
