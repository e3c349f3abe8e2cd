"""The quasi-recurrent encoder of MultiFiT (Bradbury et al. 2016, Eisenschlos et al. 2019)."""

# ruff: noqa: N803, N806 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own idiom
from torch import Tensor, nn

from ulmfit_dist.models.dropout import masked
from ulmfit_dist.models.encoder import Encoder, LayerState, RecurrentLayer
from ulmfit_dist.models.qrnn_pool import fo_pool
from ulmfit_dist.models.settings import EncoderSettings, QRNNSettings

# A GPU multiplies bf16 rows of 16 bytes at full speed, 3 x 1550 columns are not that.
_ALIGNED = 8


class QRNNLayer(RecurrentLayer):
    """One quasi-recurrent layer: gates z, f, o from the inputs alone, then fo-pooling. State: (last input, cell).

    `weight` (3H, window I) is over [x_t, x_(t-1)] for a window of 2; the last input's size is 0 for a window of 1.
    fastai calls 1 - f what the paper calls f: its rows of f, weight and bias, are these with the other sign.
    """

    def __init__(self, input_size: int, output_size: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.weight = nn.Parameter(torch.empty(3 * output_size, window * input_size))
        self.bias = nn.Parameter(torch.empty(3 * output_size))

    def forward(self, x_TBI: Tensor, state: LayerState, mask: Tensor | None) -> tuple[Tensor, LayerState]:
        """Return the outputs (T, B, H) and the new (last input (1, B, I or 0), cell (1, B, H))."""
        last, cell = state
        if self.window > 1:
            before_TBI = torch.cat([last, x_TBI[:-1]])
            # A copy: a view would keep the whole window until the next.
            last, x_TBI = x_TBI[-1:].clone(), torch.cat([x_TBI, before_TBI], -1)
        out, cell = fo_pool(_linear(x_TBI, masked(self.weight, mask), self.bias), cell[0])
        return out, (last, cell[None])

    def dropped_weight(self) -> nn.Parameter:
        """Return the weight of all gates."""
        return self.weight

    def initial_state(self, batch: int, device: torch.device | str) -> LayerState:
        """Return zeros: before the first token there is none."""
        last_size = self.weight.shape[1] // self.window * (self.window - 1)
        sizes = (last_size, self.weight.shape[0] // 3)
        last, cell = (torch.zeros(1, batch, size, device=device) for size in sizes)
        return last, cell

    def initial_range(self) -> float:
        """Return 1/sqrt(window I), as torch's linear layer."""
        return float(self.weight.shape[1] ** -0.5)


class QRNN(Encoder):
    """The encoder of MultiFiT: what AWD-LSTM is to LSTM layers, to quasi-recurrent ones."""

    def make_layers(self, settings: EncoderSettings) -> list[RecurrentLayer]:
        """Return a layer for each of the settings' sizes and windows."""
        windows = settings.windows() if isinstance(settings, QRNNSettings) else []
        return [QRNNLayer(*sizes, window) for sizes, window in zip(settings.layer_sizes(), windows, strict=True)]


def _linear(x_TBI: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x weight^T + bias; on a GPU with columns of zeros up to an aligned number."""
    if not x_TBI.is_cuda:
        return F.linear(x_TBI, weight, bias)
    rows, columns = (-size % _ALIGNED for size in weight.shape)
    return F.linear(F.pad(x_TBI, (0, columns)), F.pad(weight, (0, columns, 0, rows)), F.pad(bias, (0, rows)))
