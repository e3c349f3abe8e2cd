"""Training speed over several GPUs of one host, through Ray Train and NCCL, and one curve on any number of them.

    ULMFIT_STREAM=folder[:folder] ULMFIT_RESULTS=folder python tests/bench/bench_lm_ddp.py [scaling] [curves]

Each folder holds the streams train/ and valid/ of one vocabulary. `scaling`: weak (512 lanes a GPU) and strong (512 in
all), bfloat16 gradients, and a what-if row that leaves the sum of gradients out: wrong as training, it bounds what
overlap can win. `curves`, of the first folder: one global batch on one and on all GPUs, and a training that changes
size after 200 steps. Rows go to ddp.jsonl, times a step in ms: `sum_ms` is what a rank spends in the sum of gradients,
waiting for the slowest included; `transfer_ms` the last rank's, who waits for none; `data_ms` the host's wait for
windows.
Without a GPU it runs a small model on gloo: a check of the bench itself.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.errors import StoppedError
from ulmfit_dist.events import Silent
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMTrainer, LMTrainingSettings, train_lm
from ulmfit_dist.training.stop import STOP

GPU = torch.cuda.is_available()
RANKS = torch.cuda.device_count() if GPU else 2
LANES = 512 if GPU else 8
STEPS, SHORT, WARM = (500, 200, 100) if GPU else (40, 15, 10)
BLOCK = 20 if GPU else 5
SIZES = AWDLSTMSettings() if GPU else AWDLSTMSettings(embedding_size=16, hidden_size=24, num_layers=2)


class Recorder(Silent):
    """Keeps every step's loss and time, and asks for the end after so many steps."""

    def __init__(self, steps: int) -> None:
        self.losses: list[float] = []
        self.marks: list[tuple[float, float]] = []
        self.first, self._left = 0, steps

    def event(self, kind: str, **fields: Any) -> None:
        if kind == "resumed":
            self.first = fields["step"]
            self._left -= self.first

    def progress(self, done: float, total: float, **metrics: Any) -> None:
        self.losses.append(metrics["loss"])
        self.marks.append((time.perf_counter(), done))
        if len(self.losses) == self._left:
            STOP.request()

    def tokens_per_s(self) -> float:
        """The median over blocks of steps, the first ones left out: they compile and record."""
        marks = self.marks[WARM::BLOCK]
        return median((d - c) / (t - s) for (s, c), (t, d) in pairwise(marks))


class Clocks:
    """Times of the sums of gradients and of the waits for data, of one rank."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._sums: list[Any] = []

    def timed_sum(self, total: Callable[..., None]) -> Callable[..., None]:
        def timed(group: Group, gradient: torch.Tensor, *, compressed: bool) -> None:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            total(group, gradient, compressed=compressed)
            end.record()
            self._sums.append((start, end))

        return timed

    def timed_windows(self, windows: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def timed(trainer: LMTrainer, epoch: int, first_step: int = 0) -> Iterator[Any]:
            source = windows(trainer, epoch, first_step)
            while True:
                since = time.perf_counter()
                window = next(source, None)
                if window is None:
                    return
                self.waits.append(1e3 * (time.perf_counter() - since))
                yield window

        return timed

    def sums(self) -> list[float]:
        """In ms, once the GPU has done them; none of a CPU, whose path sums inside of backward."""
        return [start.elapsed_time(end) for start, end in self._sums]


def train(config: dict[str, Any]) -> None:
    """What each rank runs; rank 0 writes the row."""
    group, clocks, recorder = Group.current(), Clocks(), Recorder(config["steps"])
    _leave_out(config["without"])
    Group.total_gradient = clocks.timed_sum(Group.total_gradient)  # type: ignore[method-assign]
    LMTrainer.windows = clocks.timed_windows(LMTrainer.windows)  # type: ignore[method-assign]
    streams = Path(config["streams"])
    data = LMData(TokenStream.open(streams / "train"), TokenStream.open(streams / "valid"), "forward")
    fixed = {"valid_lanes": LANES // 2, "checkpoint_seconds": 0.0, "lr": 8e-3, "schedule": {"cut_steps": 240}}
    settings = LMTrainingSettings.model_validate(fixed | config["settings"])
    model = LanguageModel(data.train.vocab_size, SIZES.scaled(0.2), 1, settings.seed)
    started = time.perf_counter()
    try:
        train_lm(model, data, settings, group, CheckpointFolder(Path(config["folder"])), recorder)
    except StoppedError:
        STOP.clear()
    seconds = time.perf_counter() - started
    if GPU:
        torch.cuda.synchronize()
    told: list[Any] = [clocks.sums()[WARM:]]
    if group.world_size > 1:
        told = [None] * group.world_size
        dist.all_gather_object(told, clocks.sums()[WARM:])
    if group.rank == 0:
        sums = list(zip(*told, strict=False))
        row = {
            **config["settings"],
            "stream": streams.name,
            "vocabulary": data.train.vocab_size,
            "without": config["without"],
            "device": torch.cuda.get_device_name() if GPU else "cpu",
            "ranks": group.world_size,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "tokens_per_s": recorder.tokens_per_s(),
            "tokens_a_step": (recorder.marks[-1][1] - recorder.marks[WARM][1]) / (len(recorder.marks) - 1 - WARM),
            "sum_ms": median(sum(times) / len(times) for times in sums) if sums else 0.0,
            "transfer_ms": median(min(times) for times in sums) if sums else 0.0,
            "data_ms": sum(clocks.waits[WARM:]) / len(clocks.waits[WARM:]),
            "reserved_gib": torch.cuda.max_memory_reserved() / 2**30 if GPU else 0.0,
            "seconds": seconds,
            "first_step": recorder.first,
            "losses": recorder.losses,
        }
        with Path(config["results"]).open("a") as file:
            file.write(json.dumps(row) + "\n")


def _leave_out(names: list[str]) -> None:
    """Let messages of a step be left out: `sum` of the gradients, `agreement` on loss and stop."""
    if "sum" in names:
        Group.total_gradient = lambda *_, **__: None  # type: ignore[method-assign,assignment]
    if "agreement" in names:
        Group.total = lambda _, values: values  # type: ignore[method-assign,assignment]


def fit(ranks: int, streams: str, *, steps: int = STEPS, without: tuple[str, ...] = (), **settings: Any) -> Any:
    """Run one training on so many GPUs, in a folder of its own unless `folder` is given; return its row."""
    results, started = Path(os.environ["ULMFIT_RESULTS"]) / "ddp.jsonl", time.perf_counter()
    folder = settings.pop("folder", None) or tempfile.mkdtemp()
    config = {"streams": streams, "results": str(results), "folder": folder, "steps": steps, "without": list(without)}
    resources = {"CPU": 4, "GPU": 1} if GPU else {"CPU": 1}
    TorchTrainer(
        train,
        train_loop_config={**config, "settings": settings},
        torch_config=TorchConfig(backend="nccl" if GPU else "gloo", timeout_s=120),
        scaling_config=ScalingConfig(num_workers=ranks, use_gpu=GPU, resources_per_worker=resources),
        run_config=RunConfig(name=f"{ranks}-{time.time_ns()}", storage_path=tempfile.mkdtemp()),
    ).fit()
    row = json.loads(results.read_text().splitlines()[-1])
    told = {name: value for name, value in row.items() if name != "losses"}
    print(f"{time.perf_counter() - started:.0f} s with start: {told}", flush=True)
    return row


def scaling(streams: str) -> None:
    """Print and write the rows of one vocabulary."""
    alone = fit(1, streams, num_lanes=LANES)
    rows = {
        "weak": fit(RANKS, streams, num_lanes=LANES * RANKS),
        "weak, bf16": fit(RANKS, streams, num_lanes=LANES * RANKS, gradient_compression="bf16"),
        "weak, no sum": fit(RANKS, streams, num_lanes=LANES * RANKS, without=("sum",)),
        "strong": fit(RANKS, streams, num_lanes=LANES),
        "strong, one": fit(1, streams, num_lanes=LANES // RANKS),
    }
    for name, row in rows.items():
        print(f"{name}: {row['tokens_per_s'] / alone['tokens_per_s']:.3f} of one GPU at {LANES} lanes", flush=True)


def curves(streams: str) -> None:
    """One global batch: on one GPU, on all, and changed from one size to the other on the way."""
    whole = {ranks: fit(ranks, streams, num_lanes=LANES)["losses"] for ranks in (1, RANKS)}
    compare(f"1 and {RANKS} GPUs", whole[1], whole[RANKS])
    for first, then in ((RANKS, 1), (1, RANKS)):
        with tempfile.TemporaryDirectory() as folder:
            begun = fit(first, streams, steps=SHORT, num_lanes=LANES, folder=folder)
            going_on = fit(then, streams, num_lanes=LANES, folder=folder)
        # Steps that were under way when the end was asked for are done and saved too.
        assert going_on["first_step"] == len(begun["losses"])
        compare(f"{first} then {then} GPUs", whole[1], begun["losses"] + going_on["losses"])


def compare(name: str, one: list[float], two: list[float]) -> None:
    """Hold two curves against each other, beside what neighbouring steps differ by: other tokens would show."""
    count = min(len(one), len(two))
    assert count >= STEPS
    apart = sorted(abs(a - b) / a for a, b in zip(one, two, strict=False))
    between = median(abs(a - b) / b for a, b in zip(one[1:count], one, strict=False))
    text = f"median {median(apart):.1e}, largest {apart[-1]:.1e}; neighbouring steps: median {between:.1e}"
    print(f"{name}, {count} steps: relative difference {text}", flush=True)
    assert median(apart) < between / 2


def main() -> None:
    """Run what is asked for, or all, on a Ray of its own."""
    parts = sys.argv[1:] or ["scaling", "curves"]
    folders = os.environ["ULMFIT_STREAM"].split(os.pathsep)
    cpus = {} if GPU else {"num_cpus": 3}
    ray.init("local", include_dashboard=False, object_store_memory=500_000_000, log_to_driver=False, **cpus)
    for streams in folders if "scaling" in parts else []:
        scaling(streams)
    if "curves" in parts:
        curves(folders[0])
    ray.shutdown()


if __name__ == "__main__":
    import bench_lm_ddp  # Ray sends functions of __main__ by value, with all that torch hangs on them

    bench_lm_ddp.main()
