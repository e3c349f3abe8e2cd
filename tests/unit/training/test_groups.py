"""Discriminative rates and freezing reach the right tensors; the optimizer's state travels by name."""

from __future__ import annotations

import pytest
import torch

from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.groups import (
    OptimizerSettings,
    build_optimizer,
    discriminative_factors,
    load_optimizer,
    optimizer_tensors,
    set_rates,
    train_top_groups,
)

SIZES = AWDLSTMSettings(embedding_size=4, hidden_size=5, num_layers=3)


def _classifier() -> TextClassifier:
    return TextClassifier.from_language_model(LanguageModel(12, SIZES, 1), 2, ClassifierSettings(head_hidden=3))


def _backward(model: TextClassifier) -> None:
    tokens = torch.randint(2, 12, (5, 3), generator=torch.Generator().manual_seed(1))
    model.train()
    model(tokens, tokens > 1).pow(2).sum().backward()


def test_factors_are_the_papers() -> None:
    assert discriminative_factors(4) == pytest.approx([1 / 2.6**3, 1 / 2.6**2, 1 / 2.6, 1])
    assert discriminative_factors(3, 1.0) == [1, 1, 1]


def test_rates_reach_the_right_tensors() -> None:
    model = _classifier()
    optimizer = build_optimizer(model.layer_groups(), discriminative_factors(5), OptimizerSettings())
    set_rates(optimizer, 0.01, None)
    rate_of = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    expected = {"encoder.embedding": 4, "encoder.rnns.0.": 3, "encoder.rnns.1.": 2, "encoder.rnns.2.": 1, "head.": 0}
    named = dict(model.named_parameters())
    assert len(named) == len(rate_of) == 1 + 3 * 4 + 2 * 2 + 2 * 2
    for name, parameter in named.items():
        power = next(power for prefix, power in expected.items() if name.startswith(prefix))
        assert rate_of[id(parameter)] == pytest.approx(0.01 / 2.6**power)


def test_first_adam_step_moves_each_tensor_by_its_own_rate() -> None:
    model = _classifier()
    settings = OptimizerSettings(weight_decay=0.0, eps=1e-30)
    optimizer = build_optimizer(model.layer_groups(), discriminative_factors(5), settings)
    set_rates(optimizer, 0.01, None)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    _backward(model)
    optimizer.step()
    # Adam's first step is the rate itself, in the direction of the gradient's sign.
    for name, power in (("encoder.rnns.0.weight_hh", 3), ("encoder.rnns.2.weight_ih", 1), ("head.linears.0.weight", 0)):
        moved = (dict(model.named_parameters())[name].detach() - before[name]).abs()
        assert float(moved.max()) == pytest.approx(0.01 / 2.6**power, rel=1e-3)


@pytest.mark.parametrize("trained", [1, 2, 5])
def test_frozen_tensors_stay_bit_equal_even_under_weight_decay(trained: int) -> None:
    model = _classifier()
    groups = model.layer_groups()
    optimizer = build_optimizer(groups, discriminative_factors(5), OptimizerSettings(weight_decay=0.5))
    set_rates(optimizer, 0.1, None)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainable = train_top_groups(groups, trained)
    _backward(model)
    optimizer.step()
    expected = {id(parameter) for _, parameters in groups[5 - trained :] for parameter in parameters}
    assert {id(parameter) for parameter in trainable} == expected
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == (id(parameter) not in expected), name


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_weight_decay_is_l2_in_adam_and_a_shrinking_in_adamw(kind: str) -> None:
    parameter = torch.nn.Parameter(torch.tensor([2.0]))
    settings = OptimizerSettings.model_validate({"kind": kind, "weight_decay": 0.1})
    optimizer = build_optimizer([("one", [parameter])], [1.0], settings)
    set_rates(optimizer, 0.01, None)
    parameter.grad = torch.tensor([-0.1])
    optimizer.step()
    # Adam: gradient -0.1 + 0.1 * 2 = 0.1, so down by the rate; AdamW: 2 (1 - 0.01 * 0.1), then up by the rate.
    expected = 2 - 0.01 if kind == "adam" else 2 * (1 - 0.001) + 0.01
    assert float(parameter.detach()) == pytest.approx(expected, rel=1e-6)


def test_schedule_moves_beta1() -> None:
    optimizer = build_optimizer(_classifier().layer_groups(), [1.0] * 5, OptimizerSettings(beta1=0.7, beta2=0.98))
    set_rates(optimizer, 0.1, 0.85)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.85, 0.98)}


def test_optimizer_state_travels_by_name() -> None:
    model = _classifier()
    optimizer = build_optimizer(model.layer_groups(), [1.0] * 5, OptimizerSettings())
    set_rates(optimizer, 0.01, None)
    train_top_groups(model.layer_groups(), 2)
    for _ in range(2):
        _backward(model)
        optimizer.step()
        optimizer.zero_grad()
    tensors = optimizer_tensors(optimizer, model)
    assert "optimizer/exp_avg/encoder.rnns.2.weight_hh" in tensors
    assert not any("rnns.0" in name for name in tensors)
    copy = _classifier()
    copy.load_state_dict(model.state_dict())
    train_top_groups(copy.layer_groups(), 2)
    # Other group order, other ids: names alone carry the state over.
    other = build_optimizer(list(reversed(copy.layer_groups())), [1.0] * 5, OptimizerSettings())
    set_rates(other, 0.01, None)
    load_optimizer(other, copy, {name: tensor.clone() for name, tensor in tensors.items()})
    for one, its in ((model, optimizer), (copy, other)):
        _backward(one)
        its.step()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, copy.state_dict()[name]), name
