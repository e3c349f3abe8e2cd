"""The ranks that train one model together; hides torch.distributed, and is a group of one without it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

START_SECONDS = 1800


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

    def wait_at_most(self, seconds: float) -> None:
        """From the moment that all ranks have called this, take a rank that is silent for so long for lost.

        Before, while processes start and shards are copied, they wait for each other for START_SECONDS.
        """
        if self.world_size > 1:
            dist.barrier()
            dist.distributed_c10d._set_pg_timeout(timedelta(seconds=seconds))  # noqa: SLF001 - no public name

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over ranks."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def total_gradient(self, gradient: Tensor, *, compressed: bool) -> None:
        """Add the ranks' gradients in place; compressed they travel in bfloat16: half the bytes, 8 bits of each."""
        if self.world_size > 1:
            sent = gradient.to(torch.bfloat16) if compressed else gradient
            dist.all_reduce(sent)
            gradient.copy_(sent)

    def highest(self, value: int, device: torch.device) -> int:
        """Return the highest of the ranks' numbers."""
        if self.world_size == 1:
            return value
        shared = torch.tensor([value], device=device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return int(shared.item())

    def agrees(self, digest: str, device: torch.device) -> bool:
        """Return, on every rank the same, whether all ranks gave the same digest (hex)."""
        if self.world_size == 1:
            return True
        parts = [int(digest[i : i + 8], 16) for i in range(0, len(digest), 8)]
        # The highest and the lowest of each part in one go.
        shared = torch.tensor([*parts, *(-part for part in parts)], device=device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        highest, lowest = shared.tolist()[: len(parts)], [-part for part in shared.tolist()[len(parts) :]]
        return bool(highest == lowest)

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

    def leave(self) -> None:
        """Part from the group for good: gloo's other ranks get an error at once instead of waiting for this one."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def wrap(self, module: nn.Module, *, compressed: bool = False) -> nn.Module:
        """Return the module with its gradients averaged over ranks; call again after parameters are (un)frozen.

        Compressed they travel in bfloat16, as in `total_gradient`.
        """
        if self.world_size == 1:
            return module
        wrapped = DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)
        if compressed:
            # A lambda: torch looks at the hook's annotations, and takes no strings.
            wrapped.register_comm_hook(self.world_size, lambda size, bucket: _mean_in_bfloat16(size, bucket.buffer()))
        return wrapped


def _mean_in_bfloat16(world_size: int, gradient: Tensor) -> torch.futures.Future[Tensor]:
    # torch's own bf16_compress_hook refuses gloo.
    sent = gradient.to(torch.bfloat16).div_(world_size)
    under_way = dist.all_reduce(sent, async_op=True)
    assert under_way is not None
    done: torch.futures.Future[Tensor] = under_way.get_future().then(lambda _: gradient.copy_(sent))
    return done


def _lanes(num_lanes: int, rank: int, world_size: int) -> range:
    return range(rank * num_lanes // world_size, (rank + 1) * num_lanes // world_size)
