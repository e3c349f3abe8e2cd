"""These kernels run on Hopper GPUs alone, and import Triton, which torch brings for GPUs only."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _hopper() -> None:
    if not (torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9):
        pytest.skip("no Hopper GPU here")
