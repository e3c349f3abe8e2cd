"""The pretraining stage on a cluster: the training loop of training/ under Ray Train's TorchTrainer.

The loop and its checkpoints know nothing of Ray: rank 0 writes them to the stage's folder, complete or not at all, so
what survives a kill is the last written one, with no orphans to sweep and no commit delay (Ray registers a reported
checkpoint only at its next poll, two seconds later).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from ulmfit_dist import errors
from ulmfit_dist.cluster.session import capacity
from ulmfit_dist.cluster.stopping import stop_file_watched
from ulmfit_dist.errors import DataError, InputError, UlmfitError
from ulmfit_dist.files import fingerprint, read_json, write_json
from ulmfit_dist.stage import STOP_NAME, StageCall, Summary, stage_reporter
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.pretrain import RESULT_NAME, PretrainSettings, run_pretraining

MAX_RESTARTS = 3
_ERROR_NAME = "error.json"
_RAY_FOLDER = "ray_train"


def pretrain(call: StageCall[PretrainSettings]) -> Summary:
    """Stage: pretrain one language model on `settings.workers` DDP ranks; writes model/ and curves.json.

    Killed ranks are restarted from the last checkpoint, `MAX_RESTARTS` times. Raises what the loop raises.
    """
    settings, scratch = call.settings, call.out / _RAY_FOLDER
    _check_room(settings)
    (call.out / _ERROR_NAME).unlink(missing_ok=True)
    # Ray continues a run of the same name and folder by itself; the loop's own checkpoints do that here.
    shutil.rmtree(scratch, ignore_errors=True)
    resources = {"CPU": settings.cpus_per_worker}
    if settings.gpus_per_worker:
        resources["GPU"] = settings.gpus_per_worker
    trainer = TorchTrainer(
        _loop,
        train_loop_config={
            "settings": settings.model_dump(mode="json"),
            "inputs": {name: str(path) for name, path in call.inputs.items()},
            "out": str(call.out),
        },
        torch_config=TorchConfig(
            backend="nccl" if settings.gpus_per_worker else "gloo", timeout_s=int(settings.group_timeout_seconds)
        ),
        scaling_config=ScalingConfig(
            num_workers=settings.workers, use_gpu=bool(settings.gpus_per_worker), resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=f"pretrain-{fingerprint(settings.semantic())[:8]}",
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=MAX_RESTARTS),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise DataError(
            f"pretraining failed {MAX_RESTARTS + 1} times",
            found=str(error).strip().splitlines()[-1],
            do="see the ranks' reasons in events.jsonl of the stage's folder; it continues from its checkpoint",
        ) from error
    _raise_from_loop(call.out)
    shutil.rmtree(scratch, ignore_errors=True)
    summary = dict(read_json(call.out / RESULT_NAME))
    (call.out / RESULT_NAME).unlink()
    return summary


def _check_room(settings: PretrainSettings) -> None:
    """Refuse ranks that the cluster can never hold: Ray Train would wait for them without end."""
    have = capacity()
    wanted = ("CPU", settings.cpus_per_worker, have.cpus), ("GPU", settings.gpus_per_worker, have.gpus)
    for name, each, there in wanted:
        if settings.workers * each > there:
            raise InputError(
                f"{settings.workers} ranks of {each:g} {name} each do not fit the cluster",
                found=f"{there:g} {name}",
                do=f"lower resources.pretrain_workers (at most {int(there // each)}), or join a larger cluster",
            )


def _loop(config: dict[str, Any]) -> None:
    """What each rank runs. An error that is ours ends the loop on a file: a restart would only meet it again."""
    out = Path(config["out"])
    if (out / _ERROR_NAME).exists():
        return
    group, reporter = Group.current(), stage_reporter(out)
    settings = PretrainSettings.model_validate(config["settings"])
    call = StageCall(settings, {name: Path(path) for name, path in config["inputs"].items()}, out, reporter)
    reporter.event("rank-started", rank=group.rank, world_size=group.world_size)
    try:
        with stop_file_watched(out / STOP_NAME):
            run_pretraining(call, group)
    except UlmfitError as error:
        write_json(
            out / _ERROR_NAME,
            {"kind": type(error).__name__, "what": error.what, "found": error.found, "do": error.do},
        )
    except Exception as error:
        reporter.event("rank-failed", rank=group.rank, reason=f"{type(error).__name__}: {error}")
        raise


def _raise_from_loop(out: Path) -> None:
    path = out / _ERROR_NAME
    if path.exists():
        told = read_json(path)
        path.unlink()
        raise getattr(errors, told["kind"])(told["what"], found=told["found"], do=told["do"])
