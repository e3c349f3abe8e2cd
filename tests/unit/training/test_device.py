"""The device and precision of a machine without a GPU."""

from __future__ import annotations

import torch

from ulmfit_dist.training.device import autocast, cpu_threads, pick_device, upload


def test_cpu_computes_in_float32() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.ones(2, 2)
    with autocast(torch.device("cpu")):
        assert (x @ x).dtype == torch.float32


def test_threads_are_those_asked_for_inside_and_the_machines_outside() -> None:
    before = torch.get_num_threads()
    with cpu_threads(3):
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before


def test_uploaded_numbers_are_the_numbers() -> None:
    device = pick_device("auto")
    tensor = upload([3, 2**62], torch.int64, device)
    assert tensor.device == device
    assert tensor.tolist() == [3, 2**62]
