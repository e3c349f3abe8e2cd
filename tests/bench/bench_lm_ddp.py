"""Training speed over several GPUs of one host, through Ray Train and NCCL, and the same curve on one and on all.

    ULMFIT_STREAM=... ULMFIT_RESULTS=folder python tests/bench/bench_lm_ddp.py

Weak scaling: 512 lanes a GPU. Strong scaling: 512 lanes in all. The share of communication is the time between CUDA
events around the sum of the gradients, which includes waiting for the slowest rank.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import ray
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.events import Silent
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMTrainingSettings, train_lm


def train(config: dict[str, Any]) -> None:
    """What each rank runs; rank 0 writes the row."""
    group, marks = Group.current(), []
    total = Group.total_gradient

    def timed(self: Group, gradient: torch.Tensor, *, compressed: bool) -> None:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        total(self, gradient, compressed=compressed)
        end.record()
        marks.append((start, end))

    Group.total_gradient = timed  # type: ignore[method-assign]
    streams = Path(config["streams"])
    data = LMData(TokenStream.open(streams / "train"), TokenStream.open(streams / "valid"), "forward")
    settings = LMTrainingSettings.model_validate(
        {"valid_lanes": 256, "device": "cuda", "checkpoint_seconds": 0.0, "log_points": 40, "lr": 8e-3}
        | config["settings"]
    )
    model = LanguageModel(data.train.vocab_size, AWDLSTMSettings().scaled(config["drop_mult"]), 1, settings.seed)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = train_lm(model, data, settings, group, CheckpointFolder(Path(folder)), Silent())
    seconds = time.perf_counter() - started
    torch.cuda.synchronize()
    if group.rank == 0:
        points = result.curves["points"]
        row = {
            **config["settings"],
            "gpu": torch.cuda.get_device_name(),
            "ranks": group.world_size,
            "tokens_per_s": median(point["tokens_per_s"] for point in points[5:]),
            "sum_ms": median(start.elapsed_time(end) for start, end in marks[len(marks) // 4 :]),
            "reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
            "seconds": seconds,
            "valid_loss": result.metrics["loss"],
            "losses": [round(point["loss"], 4) for point in points],
        }
        with Path(config["results"]).open("a") as file:
            file.write(json.dumps(row) + "\n")


def fit(ranks: int, drop_mult: float = 0.2, **settings: Any) -> None:
    """Run one training on so many GPUs."""
    results = Path(os.environ["ULMFIT_RESULTS"]) / "ddp.jsonl"
    config = {"streams": os.environ["ULMFIT_STREAM"], "results": str(results), "drop_mult": drop_mult}
    TorchTrainer(
        train,
        train_loop_config={**config, "settings": settings},
        torch_config=TorchConfig(backend="nccl", timeout_s=120),
        scaling_config=ScalingConfig(num_workers=ranks, use_gpu=True, resources_per_worker={"CPU": 4, "GPU": 1}),
        run_config=RunConfig(name=f"{ranks}-{time.time_ns()}", storage_path=tempfile.mkdtemp()),
    ).fit()
    print(f"{ranks} ranks, {settings}: {results.read_text().splitlines()[-1][:400]}", flush=True)


def main() -> None:
    """Run every size on a Ray of its own."""
    ray.init("local", include_dashboard=False, object_store_memory=500_000_000, log_to_driver=False)
    gpus = torch.cuda.device_count()
    fit(1, num_lanes=512)
    fit(gpus, num_lanes=512 * gpus)
    fit(gpus, num_lanes=512 * gpus, gradient_compression="bf16")
    fit(gpus, num_lanes=512)
    fit(1, num_lanes=512 * gpus)
    ray.shutdown()


if __name__ == "__main__":
    import bench_lm_ddp  # Ray sends functions of __main__ by value, with all that torch hangs on them

    bench_lm_ddp.main()
