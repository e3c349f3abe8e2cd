"""The device and precision of a machine without a GPU."""

from __future__ import annotations

import torch

from ulmfit_dist.training.device import autocast, pick_device


def test_cpu_computes_in_float32() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.ones(2, 2)
    with autocast(torch.device("cpu")):
        assert (x @ x).dtype == torch.float32
