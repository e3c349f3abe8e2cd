"""Exponential moving averages of a model's weights: what is validated and kept, while the weights themselves train on.

Averaging the iterates of a stochastic method is Polyak and Juditsky's (1992); with exponential weights and their bias
corrected it is section 7.2 of the Adam paper (Kingma and Ba 2015).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverages:
    """After update t (from 1) each average is sum over i <= t of (1 - d) d^(t - i) w_i, divided by 1 - d^t.

    So the first average is the first weights, and no start value fades out of it. The same on every rank, since the
    weights are. `tensors` are the averages by parameter name.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay, self._parameters = decay, dict(model.named_parameters())
        self.tensors = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    def update(self, step: int) -> None:
        """Take in the weights after `step` (from 0); nothing waits for a GPU: one kernel, no number read.

        A step whose gradient is no number changes no weight, and the training ends before its averages are used.
        """
        share = (1 - self._decay) / (1 - self._decay ** (step + 1))
        averages, weights = list(self.tensors.values()), [weight.detach() for weight in self._parameters.values()]
        get_ema_multi_avg_fn(1 - share)(averages, weights, torch.tensor(step))  # type: ignore[no-untyped-call]

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Inside the block the model's weights are the averages; no copy is made."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def use(self) -> None:
        """Make the averages the model's weights for good."""
        for name, parameter in self._parameters.items():
            parameter.data.copy_(self.tensors[name])

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take saved averages."""
        for name, average in self.tensors.items():
            average.copy_(tensors[name])

    def _exchange(self) -> None:
        # By address: graphs recorded on a GPU read the weights where they were, and are not replayed meanwhile.
        for name, parameter in self._parameters.items():
            parameter.data, self.tensors[name] = self.tensors[name], parameter.data
