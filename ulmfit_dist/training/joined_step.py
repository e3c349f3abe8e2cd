"""One step of a classifier, shared by the ranks of a group so that it is the step of one rank.

Batch norm needs the whole batch. So each rank encodes its own documents, the pooled outputs (small: 3E numbers a
document) are gathered, and every rank runs the head on all of them. The head's gradients are then equal on all ranks;
those of the encoder are sums over ranks. DDP takes means: what a rank gets back for its own documents is therefore
multiplied by the world size.
"""

# ruff: noqa: N803, N806, N815 - shape suffixes; the legend is in the package docstring
from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ulmfit_dist.models.classifier import TextClassifier
from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.objective import Objective
from ulmfit_dist.training.penalties import AddedLoss, Additions


class StepInput(NamedTuple):
    """The documents of this rank (T, B) with which tokens are real, and the targets of the whole batch."""

    tokens_TB: Tensor
    valid_TB: Tensor
    targets: Tensor
    masks: DropoutMasks


class BatchLoss(nn.Module):
    """The loss of a whole batch, computed by each rank of the group from its own documents and all pooled outputs.

    `decoder_bias` (V,): the language model's, for its loss where the additions ask for it; it may have none.
    """

    def __init__(
        self,
        model: TextClassifier,
        objective: Objective,
        additions: Additions,
        decoder_bias: Tensor | None,
        group: Group,
    ) -> None:
        super().__init__()
        self.model, self.objective, self.additions, self.group = model, objective, additions, group
        device = next(model.parameters()).device
        self._decoder_bias = None if decoder_bias is None else decoder_bias.detach().to(device)

    def forward(
        self, tokens_TB: Tensor, valid_TB: Tensor, targets: Tensor, masks: DropoutMasks
    ) -> tuple[Tensor, Tensor]:
        """Return what is to be differentiated and the objective's mean loss, of a batch of `len(targets)` documents."""
        added = AddedLoss(self.additions, self.model.encoder.embedding, self._decoder_bias)
        pooled_BE = self.model.encode(tokens_TB, valid_TB, masks, added.watch if self.additions.any else None)
        own = self.group.lanes(len(targets))
        if self.group.world_size > 1:
            pooled_BE = _Gathered.apply(pooled_BE[: len(own)], self.group, len(targets))  # type: ignore[no-untyped-call]
        loss = self.objective.loss(self.model.head(pooled_BE, masks).float(), targets)
        if not self.additions.any:
            return loss, loss.detach()
        return loss + added.total(self.group, counted=len(own) > 0), loss.detach()


class JoinedStep:
    """Calls a batch's loss; `join` is called again whenever parameters were frozen or unfrozen."""

    def __init__(self, loss: BatchLoss) -> None:
        self._loss = loss
        self._wrapped: nn.Module = loss

    def join(self) -> None:
        """Have gradients averaged over the ranks from now on, those of the parameters that ask for one."""
        self._wrapped = self._loss.group.wrap(self._loss)

    def __call__(self, batch: StepInput) -> tuple[Tensor, Tensor]:
        """Return what is to be differentiated, and the objective's mean loss alone (of the whole batch, detached)."""
        total, loss = self._wrapped(*batch)
        return total, loss


class _Gathered(torch.autograd.Function):
    """All ranks' rows in order; backward needs no message, since every rank has the gradient of the whole batch."""

    @staticmethod
    def forward(ctx: Any, own_BE: Tensor, group: Group, total: int) -> Tensor:
        ctx.group, ctx.total = group, total
        return group.gather_lanes(own_BE.unsqueeze(0), total).squeeze(0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        own = ctx.group.lanes(ctx.total)
        return grads[0][own.start : own.stop] * ctx.group.world_size, None, None
