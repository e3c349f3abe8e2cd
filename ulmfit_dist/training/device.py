"""Where training computes, and in which precision."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def pick_device(name: str) -> torch.device:
    """Return the device of a setting: `auto` is the current GPU where there is one, else the CPU."""
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    if device.type == "cuda" and device.index is None:
        # The index is said: "cuda" alone means GPU 0 in the thread that reads ahead, whatever the rank's GPU is.
        return torch.device("cuda", torch.cuda.current_device())
    return device


def autocast(device: torch.device) -> torch.autocast:
    """bf16 compute over float32 masters on a GPU; float32 throughout on a CPU."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def upload(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the numbers as a tensor on the device, without waiting for it: `torch.tensor(..., device=...)` would."""
    if device.type != "cuda":
        return torch.tensor(values, dtype=dtype, device=device)
    return torch.tensor(values, dtype=dtype, pin_memory=True).to(device, non_blocking=True)


@contextlib.contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute on so many CPU threads inside the block, whatever the machine has: another number rounds otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def give_back_memory(device: torch.device) -> None:
    """Return a GPU's memory that nothing uses any more; on a CPU nothing is done.

    torch's optimizers are born into a cycle of references that holds a trainer until it is collected, and the product
    library's workspaces lie inside the graphs' memory, one piece as large as a window: each would keep all of it.
    """
    if device.type == "cuda":
        gc.collect()
        torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001 - torch has no public name for it
        torch.cuda.empty_cache()
