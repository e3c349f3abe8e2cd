"""On how many ranks a stage trains, and what each of them takes. Nothing here changes a result."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from ulmfit_dist.config import Settings, operational


class RankSettings(Settings):
    """The ranks of a training; part of the settings of every stage that trains on several."""

    workers: int = operational(1, "ranks that train together")
    min_workers: int = operational(0, "fewest ranks to go on with while nodes are missing; 0: all of them")
    cpus_per_worker: float = operational(1.0, "CPU cores that a rank is counted for")
    gpus_per_worker: float = operational(0.0, "GPUs of a rank")
    group_timeout_seconds: float = operational(300.0, "how long a rank waits for a silent one, once all have started")

    @model_validator(mode="after")
    def _no_fewer_than_the_fewest(self) -> Self:
        if self.min_workers > self.workers:
            msg = f"min_workers ({self.min_workers}) is more than workers ({self.workers})"
            raise ValueError(msg)
        return self

    @property
    def fewest_workers(self) -> int:
        """With how many ranks the training runs at least."""
        return self.min_workers or self.workers

    @property
    def elastic(self) -> bool:
        """Whether the number of ranks may change while it runs."""
        return self.fewest_workers < self.workers
