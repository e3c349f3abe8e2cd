"""Whether the ranks of a training fit a cluster at all: Ray Train would wait for them without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ulmfit_dist.errors import InputError

if TYPE_CHECKING:
    from ulmfit_dist.cluster.ledger import Capacity
    from ulmfit_dist.training.ranks import RankSettings

# What the recipe calls the ranks of each kind of stage that trains on several, and the CPUs and GPUs of one.
_NAMES = {
    "pretrain": ("pretrain_workers", "pretrain_cpus_per_worker", "pretrain_gpus_per_worker"),
    "train-classifier": ("classifier_workers", "task_cpus", "task_gpus"),
}
ON_RANKS = tuple(_NAMES)


def check_room(kind: str, settings: RankSettings, have: Capacity) -> None:
    """Raise InputError when the ranks of a stage, or the fewest of an elastic group, are more than the cluster holds.

    kind: one of ON_RANKS.
    """
    ranks, *each_of = _NAMES[kind]
    wanted = ("CPU", settings.cpus_per_worker, have.cpus), ("GPU", settings.gpus_per_worker, have.gpus)
    for (name, each, there), setting in zip(wanted, each_of, strict=True):
        if settings.fewest_workers * each <= there:
            continue
        most = int(there // each)
        lower = f"resources.{ranks} (at most {most})" if most else f"resources.{setting}"
        raise InputError(
            f"{settings.fewest_workers} ranks of {each:g} {name} each do not fit the cluster",
            found=f"{there:g} {name}",
            do=f"lower {lower}, or join a larger cluster",
        )
