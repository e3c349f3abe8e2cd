"""The named schedules of unfreezing: which layer groups are trained when, at which rates."""

from __future__ import annotations

from typing import Literal

from ulmfit_dist.training.classifier import ClassifierStage, ClassifierTrainingSettings
from ulmfit_dist.training.schedule import Schedule

NamedUnfreezing = Literal["2018", "paper", "v1", "multifit", "chain-thaw"]
Unfreezing = Literal["2018", "paper", "v1", "multifit", "chain-thaw", "training"]
# fastai v1's cycle and momentum, as MultiFiT trains with (train_clas.py).
_ONE_CYCLE = Schedule(kind="one_cycle", momentum=(0.8, 0.7))


def unfreezing_stages(name: NamedUnfreezing, num_groups: int, epochs: int, lr: float) -> list[ClassifierStage]:
    """Return a named schedule; stages count layer groups from the head down.

    2018 (fast.ai 0.7, train_clas.py): head, head and top layer, all. paper (section 3.3): one layer more each epoch.
    v1 (fastai v1, ULMFit.ipynb): 1, 2, 3 and all groups at lr, lr/2, lr/4 and lr/20. multifit: all layers throughout.
    chain-thaw (Felbo et al. 2017, section 3.3): the head, each layer by itself from the lowest to the head, then all.
    """
    everything = ClassifierStage(groups=0, epochs=epochs, lr=lr)
    if name == "multifit":
        return [everything]
    if name == "2018":
        return [*(ClassifierStage(groups=groups, lr=lr) for groups in (1, 2)), everything]
    if name == "paper":
        return [*(ClassifierStage(groups=groups, lr=lr) for groups in range(1, num_groups)), everything]
    if name == "chain-thaw":
        chain = [1, *range(num_groups, 0, -1)]
        return [*(ClassifierStage(only=only, lr=lr) for only in chain), everything]
    falling = [ClassifierStage(groups=groups, lr=lr / 2 ** (groups - 1)) for groups in (1, 2, 3)]
    return [*falling, everything.model_copy(update={"lr": lr / 20})]


def with_unfreezing(
    training: ClassifierTrainingSettings, name: Unfreezing, num_groups: int, epochs: int, lr: float
) -> ClassifierTrainingSettings:
    """Return training settings with a named schedule's stages; `training` leaves them as they are.

    multifit is one cycle over all of the training: a schedule of another kind gives way to fastai's.
    """
    if name == "training":
        return training
    update: dict[str, object] = {"stages": unfreezing_stages(name, num_groups, epochs, lr)}
    if name == "multifit" and training.schedule.kind != "one_cycle":
        update["schedule"] = _ONE_CYCLE
    return training.model_copy(update=update)
