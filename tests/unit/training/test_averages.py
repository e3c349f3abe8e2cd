"""Averages of weights: the sum that the paper writes, computed from every weight there ever was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ulmfit_dist.training.averages import WeightAverages


def _after(weights: list[np.ndarray], decay: float) -> np.ndarray:
    count = len(weights)
    shares = [(1 - decay) * decay ** (count - 1 - i) for i in range(count)]
    return sum(share * weight for share, weight in zip(shares, weights, strict=True)) / sum(shares)


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
def test_an_average_is_the_weighted_mean_of_all_weights_so_far(decay: float) -> None:
    model, generator = nn.Linear(3, 2), np.random.default_rng(1)
    averages, seen = WeightAverages(model, decay), []
    for step in range(40):
        weight = generator.normal(size=(2, 3)).astype(np.float32)
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(weight))
        seen.append(weight.astype(np.float64))
        averages.update(step)
        np.testing.assert_allclose(averages.tensors["weight"].numpy(), _after(seen, decay), rtol=1e-4, atol=1e-5)


def test_the_first_average_is_the_first_weights_to_the_bit() -> None:
    model = nn.Linear(3, 2)
    averages = WeightAverages(model, 0.99)
    with torch.no_grad():
        model.weight.mul_(7)
    averages.update(0)
    assert torch.equal(averages.tensors["weight"], model.weight)


def test_the_model_has_the_averages_inside_the_block_and_its_own_weights_at_the_old_address_after_it() -> None:
    model = nn.Linear(3, 2)
    averages = WeightAverages(model, 0.5)
    averages.update(0)
    average, address = model.weight.detach().clone(), model.weight.data_ptr()
    with torch.no_grad():
        model.weight.add_(1)
    with pytest.raises(RuntimeError, match="inside"), averages.in_model():
        assert torch.equal(model.weight, average)
        raise RuntimeError("inside")
    assert torch.equal(model.weight, average + 1)
    assert model.weight.data_ptr() == address
    averages.use()
    assert torch.equal(model.weight, average)


def test_saved_averages_come_back_into_the_same_memory() -> None:
    model = nn.Linear(3, 2)
    averages, other = WeightAverages(model, 0.5), WeightAverages(nn.Linear(3, 2), 0.5)
    address = averages.tensors["bias"].data_ptr()
    averages.load(other.tensors)
    assert torch.equal(averages.tensors["bias"], other.tensors["bias"])
    assert averages.tensors["bias"].data_ptr() == address
