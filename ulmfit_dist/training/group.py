"""The ranks that train one model together; hides torch.distributed, and is a group of one without it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Group:
    """Rank and world size as torch names them. The launcher starts the process group and sets its timeout."""

    rank: int = 0
    world_size: int = 1

    @classmethod
    def single(cls) -> Group:
        """Return the group of one process."""
        return cls()

    @classmethod
    def current(cls) -> Group:
        """Return the process group that torch.distributed runs, or the group of one."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def lanes(self, num_lanes: int) -> range:
        """Return this rank's lanes: floor(rB/W) to floor((r+1)B/W)."""
        return _lanes(num_lanes, self.rank, self.world_size)

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.world_size > 1:
            dist.barrier()

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over ranks."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def highest(self, value: int, device: torch.device) -> int:
        """Return the highest of the ranks' numbers."""
        if self.world_size == 1:
            return value
        shared = torch.tensor([value], device=device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return int(shared.item())

    def gather_lanes(self, local: Tensor, num_lanes: int) -> Tensor:
        """Join the ranks' slices of dimension 1 into all lanes, on every rank."""
        if self.world_size == 1:
            return local
        ranges = [_lanes(num_lanes, rank, self.world_size) for rank in range(self.world_size)]
        # Ranks may hold one lane more or less; a collective wants equal shapes.
        widest = max(len(lanes) for lanes in ranges)
        padded = local.new_zeros(local.shape[0], widest, *local.shape[2:])
        padded[:, : local.shape[1]] = local
        parts = [torch.empty_like(padded) for _ in ranges]
        dist.all_gather(parts, padded)
        return torch.cat([part[:, : len(lanes)] for part, lanes in zip(parts, ranges, strict=True)], dim=1)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module with its gradients averaged over ranks; call again after parameters are (un)frozen."""
        if self.world_size == 1:
            return module
        return DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)


def _lanes(num_lanes: int, rank: int, world_size: int) -> range:
    return range(rank * num_lanes // world_size, (rank + 1) * num_lanes // world_size)
