"""The orders in which the kernels keep gates and units."""

from __future__ import annotations

import pytest
import torch

from ulmfit_dist.models.recurrence_cuda import available, gate_order, gate_place

CPU = torch.device("cpu")


@pytest.mark.parametrize("hidden", [64, 448, 1024, 1152])
def test_every_gate_has_one_place(hidden: int) -> None:
    order = gate_order(hidden, CPU)
    assert sorted(order.tolist()) == list(range(4 * hidden))
    assert torch.equal(order[gate_place(hidden, CPU)], torch.arange(4 * hidden))


def test_a_block_of_1152_holds_eighteen_units_whole() -> None:
    # 16 neighbours and two of the last 128 units: 64 blocks cover 1024 + 128.
    order = gate_order(1152, CPU)
    block = torch.cat([order[: 64 * 64].view(64, 64)[5], order[64 * 64 :].view(64, 8)[5]])
    units = [80 + unit for unit in range(16)] + [1024 + 10, 1024 + 11]
    assert sorted(block.tolist()) == sorted(gate * 1152 + unit for gate in range(4) for unit in units)


@pytest.mark.parametrize("hidden", [64, 1152])
def test_nothing_runs_on_the_cpu(hidden: int) -> None:
    assert not available(CPU, hidden)
