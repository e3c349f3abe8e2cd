"""A stage's training loop on several ranks: under Ray Train's TorchTrainer, restarted as long as it gets further.

The loop and its checkpoints know nothing of Ray: rank 0 writes them to the stage's folder, complete or not at all, so
what survives a kill is the last written one, with no orphans to sweep and no commit delay (Ray registers a reported
checkpoint only at its next poll, two seconds later).

An elastic group (`min_workers` below `workers`) goes on with fewer ranks when a node is lost and takes it in again when
it returns. The global batch and the order of its tokens stay what they are, only the lanes of a rank change.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from ray.train import TrainingFailedError, get_context
from ray.train.torch import TorchConfig
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from ulmfit_dist import errors
from ulmfit_dist.cluster.gpuuse import gpu_use_told
from ulmfit_dist.cluster.retrying import marks
from ulmfit_dist.cluster.room import check_room
from ulmfit_dist.cluster.session import capacity
from ulmfit_dist.cluster.stopping import drain_watched, stop_file_watched
from ulmfit_dist.errors import DataError, UlmfitError
from ulmfit_dist.files import fingerprint, read_json, write_json
from ulmfit_dist.stage import STOP_NAME, StageCall, Summary, stage_reporter
from ulmfit_dist.training.group import START_SECONDS, Group
from ulmfit_dist.training.pretrain import RESULT_NAME
from ulmfit_dist.training.ranks import RankSettings

MAX_RESTARTS = 3
_ERROR_NAME = "error.json"
_RAY_FOLDER = "ray_train"
# How long Ray waits for a group's processes before it counts the resources again. After a node's death its first count
# is a stale one: with Ray's 60 s it took 78 s to go on with one rank, with 15 s it took 28 (two CPU ranks).
_START_S = 60
_ELASTIC_START_S = 20
_RESIZE_INTERVAL_S = 30.0
_DRAIN_POLL_S = 2

R = TypeVar("R", bound=RankSettings)


@dataclass(frozen=True)
class RankWork(Generic[R]):
    """What every rank of a training runs.

    function: leaves the summary as RESULT_NAME in the stage's folder, and called again then only returns it.
    kind: the stage's.
    """

    name: str
    settings: type[R]
    function: Callable[[StageCall[R], Group], Summary]
    kind: str


def fit(work: RankWork[R], call: StageCall[R]) -> Summary:
    """Run a training on `settings.workers` DDP ranks and return its summary.

    Killed, silent or lost ranks are replaced and the training goes on from the last checkpoint. It is given up after
    `MAX_RESTARTS` restarts without a new checkpoint. Raises what the loop raises.
    """
    scratch = call.out / _RAY_FOLDER
    check_room(work.kind, call.settings, capacity())
    (call.out / _ERROR_NAME).unlink(missing_ok=True)
    while True:
        reached = marks(call.out)
        # Ray continues a run of the same name and folder by itself; the loop's own checkpoints do that here.
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            with _environment(_ray_settings(call.settings)):
                _trainer(work, call, scratch).fit()
            break
        except TrainingFailedError as error:
            reason, further = str(error).strip().splitlines()[-1], sorted(marks(call.out) - reached)
            if not further:
                raise DataError(
                    f"{work.name} failed {MAX_RESTARTS + 1} times at one place",
                    found=reason,
                    do="see the ranks' reasons in events.jsonl of the stage's folder; it continues from its checkpoint",
                ) from error
            # Ray counts failures from the start. A run of weeks meets many, each of them long after the one before.
            call.reporter.event("fit-restarted", checkpoint=further[-1], reason=reason)
    _raise_from_loop(call.out)
    shutil.rmtree(scratch, ignore_errors=True)
    summary = dict(read_json(call.out / RESULT_NAME))
    (call.out / RESULT_NAME).unlink()
    return summary


def _trainer(work: RankWork[R], call: StageCall[R], scratch: Path) -> TorchTrainer:
    settings = call.settings
    resources = {"CPU": settings.cpus_per_worker}
    if settings.gpus_per_worker:
        resources["GPU"] = settings.gpus_per_worker
    return TorchTrainer(
        partial(_loop, work),
        train_loop_config={
            "settings": settings.model_dump(mode="json"),
            "inputs": {name: str(path) for name, path in call.inputs.items()},
            "out": str(call.out),
        },
        torch_config=TorchConfig(backend="nccl" if settings.gpus_per_worker else "gloo", timeout_s=START_SECONDS),
        scaling_config=ScalingConfig(
            num_workers=(settings.fewest_workers, settings.workers) if settings.elastic else settings.workers,
            use_gpu=bool(settings.gpus_per_worker),
            resources_per_worker=resources,
            elastic_resize_monitor_interval_s=_RESIZE_INTERVAL_S,
        ),
        run_config=RunConfig(
            name=f"{work.name}-{fingerprint(settings.semantic())[:8]}",
            storage_path=str(scratch),
            failure_config=FailureConfig(
                max_failures=MAX_RESTARTS,
                controller_failure_limit=START_SECONDS // (_ELASTIC_START_S if settings.elastic else _START_S),
            ),
        ),
    )


def _ray_settings(settings: RankSettings) -> dict[str, str]:
    """What Ray Train takes from the environment of the process that calls `fit`."""
    return {
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(_ELASTIC_START_S if settings.elastic else _START_S),
        # For a rank alone, which no other waits for.
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(math.ceil(settings.group_timeout_seconds)),
        "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": str(_DRAIN_POLL_S),
    }


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables inside the block; what the user has set stays."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _loop(work: RankWork[R], config: dict[str, Any]) -> None:
    """What each rank runs. An error that is ours ends the loop on a file: a restart would only meet it again."""
    out = Path(config["out"])
    if (out / _ERROR_NAME).exists():
        return
    group, reporter = Group.current(), stage_reporter(out)
    settings = work.settings.model_validate(config["settings"])
    call = StageCall(settings, {name: Path(path) for name, path in config["inputs"].items()}, out, reporter)
    reporter.event("rank-started", rank=group.rank, world_size=group.world_size)
    # One rank tells of all the group's GPUs of its node.
    gpu_use = gpu_use_told(reporter) if get_context().get_local_rank() == 0 else nullcontext()
    try:
        with stop_file_watched(out / STOP_NAME), drain_watched(), gpu_use:
            work.function(call, group)
    except UlmfitError as error:
        told = {"kind": type(error).__name__, "what": error.what, "found": error.found, "do": error.do}
        write_json(out / _ERROR_NAME, told)
        # A rank may be alone with its error (its node's disk is full): the others must not wait for it.
        group.leave()
    except Exception as error:
        if (out / _ERROR_NAME).exists():
            return
        reporter.event("rank-failed", rank=group.rank, reason=f"{type(error).__name__}: {error}")
        raise


def _raise_from_loop(out: Path) -> None:
    path = out / _ERROR_NAME
    if path.exists():
        told = read_json(path)
        path.unlink()
        raise getattr(errors, told["kind"])(told["what"], found=told["found"], do=told["do"])
