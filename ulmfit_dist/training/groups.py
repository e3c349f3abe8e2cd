"""Layer groups in the optimizer: discriminative rates, freezing, and the optimizer's state by parameter name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ulmfit_dist.config import Settings
from ulmfit_dist.models.encoder import LayerGroup

PAPER_RATIO = 2.6  # paper section 3.2: the layer below learns at 1/2.6 of the rate
_PREFIX = "optimizer"


class OptimizerSettings(Settings):
    """Adam in its two forms: `adamw` decays the weights themselves, `adam` is that of 2018 with L2 in the gradient."""

    kind: Literal["adamw", "adam"] = "adamw"
    beta1: float = Field(default=0.7, ge=0, lt=1, description="momentum; a schedule may move it (paper: 0.7)")
    beta2: float = Field(default=0.99, ge=0, lt=1, description="decay of the squared gradients (paper: 0.99)")
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


def discriminative_factors(num_groups: int, ratio: float = PAPER_RATIO) -> list[float]:
    """Return each group's share of the rate, lowest group first: ratio^-(groups above it)."""
    return [ratio ** -(num_groups - 1 - index) for index in range(num_groups)]


def build_optimizer(
    layer_groups: Sequence[LayerGroup], factors: Sequence[float], settings: OptimizerSettings
) -> torch.optim.Optimizer:
    """Return an optimizer with one parameter group a layer group, in order, each with its `factor` and `name`."""
    groups = [
        {"params": parameters, "name": name, "factor": factor}
        for (name, parameters), factor in zip(layer_groups, factors, strict=True)
    ]
    kind = torch.optim.AdamW if settings.kind == "adamw" else torch.optim.Adam
    betas = (settings.beta1, settings.beta2)
    return kind(groups, lr=0.0, betas=betas, eps=settings.eps, weight_decay=settings.weight_decay, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, lr: float, beta1: float | None) -> None:
    """Set every group's rate to lr times its factor, and Adam's beta1 if one is given."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
        if beta1 is not None:
            group["betas"] = (beta1, group["betas"][1])


def train_top_groups(layer_groups: Sequence[LayerGroup], trained: int) -> list[nn.Parameter]:
    """Freeze all but the top `trained` groups; return the trainable parameters."""
    return train_groups(layer_groups, range(len(layer_groups) - trained, len(layer_groups)))


def train_groups(layer_groups: Sequence[LayerGroup], trained: range) -> list[nn.Parameter]:
    """Freeze all groups but those, numbered from the lowest; return the trainable parameters.

    A frozen parameter asks for no gradient, so nothing below the lowest trained group is differentiated, and the
    optimizer, finding no gradient, leaves it alone: no step, no decay.
    """
    trainable = []
    for index, (_, parameters) in enumerate(layer_groups):
        for parameter in parameters:
            parameter.requires_grad_(index in trained)
            if index in trained:
                trainable.append(parameter)
    return trainable


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Return the optimizer's state as tensors named by parameter."""
    out = {}
    for name, parameter in _named(optimizer, model):
        for key, value in optimizer.state.get(parameter, {}).items():
            out[f"{_PREFIX}/{key}/{name}"] = value
    return out


def load_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put the state of `optimizer_tensors` back; parameters without any (frozen until then) stay without."""
    for name, parameter in _named(optimizer, model):
        state = {}
        for key in ("step", "exp_avg", "exp_avg_sq"):
            saved = tensors.get(f"{_PREFIX}/{key}/{name}")
            if saved is not None:
                state[key] = saved.to(parameter.device, copy=True)
        if state:
            optimizer.state[parameter] = state


def _named(optimizer: torch.optim.Optimizer, model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return ((name, parameter) for name, parameter in model.named_parameters() if id(parameter) in held)
