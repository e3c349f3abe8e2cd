"""Stages under torchrun: every process that it starts is one rank, and the same command as without it.

    torchrun --nproc-per-node 8 --max-restarts 100 --shutdown-timeout 10 -m ulmfit_dist pretrain STREAM ... --out DIR

train-classifier runs likewise; what does not train on several ranks refuses more than one.

A rank that dies or is silent for too long ends its process group; torchrun kills what is left and starts all of them
again, and they go on from the last checkpoint. On SIGTERM a checkpoint is written and the process ends with 143.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from ulmfit_dist.cluster.stopping import signals_as_stop, stop_file_watched
from ulmfit_dist.files import read_json
from ulmfit_dist.finetune.classifier import train_as_rank
from ulmfit_dist.stage import RECORD_NAME, STOP_NAME, StageCall, StageKind, Summary, is_done, run_stage
from ulmfit_dist.training.device import pick_device
from ulmfit_dist.training.group import START_SECONDS, Group
from ulmfit_dist.training.pretrain import RESULT_NAME, run_pretraining

# What a rank of each kind runs: it leaves RESULT_NAME in the stage's folder, and waits for the others.
_LOOPS: dict[str, Callable[[StageCall[Any], Group], Summary]] = {
    "pretrain": run_pretraining,
    "train-classifier": train_as_rank,
}


def run_as_rank(kind: StageKind[Any], call: StageCall[Any], identity: str) -> Summary:
    """Run a training as this process's rank; rank 0 owns the stage's folder.

    The number of ranks is torchrun's, `settings.workers` is not read. Raises what the loop raises.
    """
    path = call.out / STOP_NAME
    # Signals only now: a process that waits for others that never come must end when torchrun says so.
    with _group(call.settings.training.device) as group, signals_as_stop(path), stop_file_watched(path):
        done = group.rank == 0 and is_done(call.out, identity)
        if group.highest(int(done), pick_device(call.settings.training.device)):
            return dict(read_json(call.out / RECORD_NAME)["summary"])
        work = partial(_train, _LOOPS[kind.name], group)
        return run_stage(replace(kind, function=work), call, identity) if group.rank == 0 else work(call)


def _train(loop: Callable[[StageCall[Any], Group], Summary], group: Group, call: StageCall[Any]) -> Summary:
    group.barrier()  # rank 0 has the folder ready
    summary = loop(call, group)
    group.barrier()
    if group.rank == 0:
        (call.out / RESULT_NAME).unlink()
    return summary


@contextmanager
def _group(device: str) -> Iterator[Group]:
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    on_gpu = pick_device(device).type == "cuda"
    timeout = timedelta(seconds=START_SECONDS)
    store, rank, world_size = next(rendezvous("env://", timeout=timeout))
    # torchrun keeps one store over all restarts: without a name of its own a new group may read the addresses of the
    # processes before it. Two of the first five restarts met a refused connection; with it, none of 39 did.
    own = PrefixStore(f"restart-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    backend = "nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, store=own, rank=rank, world_size=world_size, timeout=timeout)
    group = Group.current()
    try:
        yield group
    finally:
        group.leave()
