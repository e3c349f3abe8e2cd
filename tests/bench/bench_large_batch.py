"""Which learning rate holds from 64 to 4096 lanes: validation loss after the same tokens of real text, on GPUs.

    ULMFIT_STREAM=... ULMFIT_RESULTS=folder python tests/bench/bench_large_batch.py [variants [FROM TO]]

Every GPU takes the next training from one list, the longest first; a row of results.jsonl a training. Sizes and
dropouts are those of pretraining's recipe, one epoch, the recipe's schedule.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.events import Silent
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMTrainingSettings, train_lm

# Lanes: the highest rates, about as the square root of the lanes and two or three steps of 2 around it.
RATES = {
    64: (1e-3, 2e-3, 4e-3),
    128: (2e-3, 4e-3, 8e-3),
    256: (2e-3, 4e-3, 8e-3),
    512: (4e-3, 8e-3, 16e-3),
    1024: (4e-3, 8e-3, 16e-3),
    2048: (8e-3, 16e-3, 32e-3),
    4096: (8e-3, 16e-3, 32e-3),
}
# What else may matter where steps are few: a longer rise, more momentum, more tokens; and another seed, for the noise.
_LONG: dict[str, Any] = {"schedule": {"cut_frac": 0.3}}
VARIANTS: list[tuple[int, float, dict[str, Any]]] = [
    (1024, 4e-3, _LONG),
    (1024, 8e-3, _LONG),
    (2048, 4e-3, _LONG),
    (2048, 8e-3, _LONG),
    (512, 8e-3, _LONG),
    (512, 8e-3, {"epochs": 4}),
    (2048, 8e-3, {**_LONG, "epochs": 4}),
    (2048, 4e-3, {**_LONG, "epochs": 4}),
    (4096, 4e-3, {**_LONG, "epochs": 4}),
    (4096, 8e-3, {**_LONG, "epochs": 4}),
    (1024, 8e-3, {**_LONG, "optimizer": {"beta1": 0.9}}),
    (512, 8e-3, {"seed": 2}),
    (512, 8e-3, {"schedule": {"kind": "one_cycle"}}),
    (64, 8e-3, {}),
    (4096, 4e-3, _LONG),
]
DROP_MULT = 0.2


def train(streams: Path, lanes: int, lr: float, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Train one model for an epoch; return its row."""
    data = LMData(TokenStream.open(streams / "train"), TokenStream.open(streams / "valid"), "forward")
    values = {
        "num_lanes": lanes,
        "lr": lr,
        "valid_lanes": 256,
        "device": "cuda",
        "checkpoint_seconds": 0.0,
        "recurrence": "own",
    }
    settings = LMTrainingSettings.model_validate(values | (options or {}))
    model = LanguageModel(data.train.vocab_size, AWDLSTMSettings().scaled(DROP_MULT), 1, settings.seed)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = train_lm(model, data, settings, Group.single(), CheckpointFolder(Path(folder)), Silent())
    row = {"lanes": lanes, "lr": lr, "loss": result.metrics["loss"], "steps": result.metrics["steps"]}
    return row | {"tokens": result.metrics["tokens"], "seconds": time.perf_counter() - started} | (options or {})


def _work(rank: int, tasks: Any, results: Path) -> None:
    torch.cuda.set_device(rank)
    streams = Path(os.environ["ULMFIT_STREAM"])
    while (task := tasks.get()) is not None:
        lanes, lr, options = task
        try:
            row = train(streams, lanes, lr, options)
        except Exception as error:  # noqa: BLE001 - a rate too high ends in a number that is none
            row = {"lanes": lanes, "lr": lr, "error": str(error)} | options
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{torch.cuda.get_device_name()} {row}", flush=True)


def main(tasks: list[tuple[int, float, dict[str, Any]]]) -> None:
    """Run the trainings on all GPUs."""
    results = Path(os.environ["ULMFIT_RESULTS"]) / "results.jsonl"
    workers = torch.cuda.device_count()
    context = mp.get_context("spawn")
    queue = context.Queue()
    for task in [*tasks, *[None] * workers]:
        queue.put(task)
    mp.spawn(_work, (queue, results), nprocs=workers)


if __name__ == "__main__":
    grid = [(lanes, lr, {}) for lanes, rates in RATES.items() for lr in rates]
    main(VARIANTS[slice(*map(int, sys.argv[2:4] or [len(VARIANTS)]))] if "variants" in sys.argv else grid)
