"""What a training saves and how it goes on: the same for language models and classifiers, for one rank or many.

Saved: weights and buffers, the optimizer's state by parameter name, the hidden state of every lane, the curves, the
averages and the best weights if they are kept, and the step, from which schedule, data position and dropout masks all
follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from ulmfit_dist.errors import InputError, StoppedError
from ulmfit_dist.models.encoder import State
from ulmfit_dist.training.averages import WeightAverages
from ulmfit_dist.training.checkpoint import Checkpoint, CheckpointFolder
from ulmfit_dist.training.curves import Curves
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.groups import load_optimizer, optimizer_tensors

_NO_RANDOM_STATE = "none: every draw is a pure function of (seed, epoch, step, site)"


@dataclass
class Progress:
    """The live state of a training; `hidden` is this rank's lanes, empty for a classifier."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    curves: Curves
    hidden: State = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    averages: WeightAverages | None = None

    def keep_best(self) -> None:
        """Keep a copy of the present weights as the best."""
        self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def use_best(self) -> None:
        """Put the best weights into the model."""
        self.model.load_state_dict(self.best)

    def tensors(self) -> dict[str, Tensor]:
        """Return what is equal on every rank, by name."""
        averages = {} if self.averages is None else self.averages.tensors
        return {
            **{f"model/{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"best/{name}": tensor for name, tensor in self.best.items()},
            **{f"average/{name}": tensor for name, tensor in averages.items()},
            **optimizer_tensors(self.optimizer, self.model),
        }

    def load(self, checkpoint: Checkpoint, lanes: range) -> None:
        """Take everything from a checkpoint, of the hidden states the given lanes."""
        self.model.load_state_dict(_under("model/", checkpoint.tensors))
        self.best = _under("best/", checkpoint.tensors)
        if self.averages is not None:
            self.averages.load(_under("average/", checkpoint.tensors))
        load_optimizer(self.optimizer, self.model, checkpoint.tensors)
        self.curves.restore(checkpoint.state["curves"])
        for layer, pair in enumerate(self.hidden):
            for name, live in zip(("hidden", "cell"), pair, strict=True):
                saved = checkpoint.tensors[f"state/{layer}/{name}"][:, lanes.start : lanes.stop]
                live.copy_(saved)


class SavedTraining:
    """Checkpoints of one training by one group: rank 0 writes, every rank reads the same one."""

    def __init__(self, checkpoints: CheckpointFolder, group: Group, identity: str) -> None:
        self._checkpoints, self._group, self._identity = checkpoints, group, identity

    @property
    def folder(self) -> Path:
        """Where the checkpoints lie."""
        return self._checkpoints.folder

    def restore(self, progress: Progress, lanes: range = range(0)) -> int:
        """Load the newest whole checkpoint; return the number of steps done, 0 without one.

        Raises InputError when the checkpoint is of another training, or the ranks were given different ones: their
        gradients are summed, but nothing would ever make their weights equal.
        """
        device = next(progress.model.parameters()).device
        if not self._group.agrees(self._identity, device):
            raise InputError(
                "the ranks were not given the same training",
                found=f"rank {self._group.rank} has weights, data and settings of digest {self._identity[:8]}",
                do="give all ranks one version of the package, the same settings and the same files",
            )
        newest = self._checkpoints.latest() if self._group.rank == 0 else None
        step = self._group.highest(newest.step if newest else -1, device)
        if step < 0:
            return 0
        checkpoint = newest or self._checkpoints.load(step)
        if checkpoint.state["identity"] != self._identity:
            raise InputError(
                f"the checkpoint in {self.folder} is of another training",
                found=f"{checkpoint.state['identity'][:8]}, this training is {self._identity[:8]}",
                do="give another folder, or delete this one to start over",
            )
        progress.load(checkpoint, lanes)
        return step

    def save(self, step: int, progress: Progress, num_lanes: int = 0) -> None:
        """Begin to write a checkpoint; every rank calls this. `finish` says that it is written."""
        hidden = {
            f"state/{layer}/{name}": self._group.gather_lanes(live, num_lanes)
            for layer, pair in enumerate(progress.hidden)
            for name, live in zip(("hidden", "cell"), pair, strict=True)
        }
        if self._group.rank == 0:
            state = {
                "step": step,
                "identity": self._identity,
                "world_size": self._group.world_size,
                "random_state": _NO_RANDOM_STATE,
                "curves": progress.curves.state(),
            }
            self._checkpoints.save(step, {**progress.tensors(), **hidden}, state)

    def finish(self) -> None:
        """Return when the last checkpoint is written; every rank calls this. Raises what went wrong with it."""
        self._checkpoints.wait()
        self._group.barrier()

    def stopped(self, step: int) -> NoReturn:
        """Raise StoppedError once the state of `step` is saved."""
        self.finish()
        raise StoppedError(
            "training was stopped by request", found=f"saved after step {step}", do="run the same command to go on"
        )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
