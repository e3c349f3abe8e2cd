"""What a billion tokens cost beside ten million: plan, first batch, steps, the way to the middle, memory.

    pytest -m slow -s tests/bench/bench_corpus_size.py

Tokens are random, in 64 real shards whose page cache is warm (they have just been written): 2 GB below TMPDIR. Both
trainings step in turns in one process and are timed in CPU seconds, so that what else the machine does falls on both.
Memory is anonymous memory, each size in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
VOCAB, LANES, BPTT, DOCUMENT, SHARDS = 8000, 64, 70, 250, 64
SIZES = {"1e7": 10_200_000, "1e9": 1_020_000_000}
STEPS, PAIRS = 50, 300


class _Numbers:
    unit, name, vocab_size, unk_id, pad_id, bos_id, fingerprint = "word", "numbers", VOCAB, 0, 1, 2, "f" * 32


def write_stream(folder: Path, tokens: int) -> None:
    """Write a stream of about so many tokens in documents of 100 to 400, the same ones in each shard."""
    from ulmfit_dist.corpus.stream import write_manifest, write_shard
    from ulmfit_dist.tokenization.tokenizer import Encoded

    random = np.random.default_rng(1)
    lengths = random.integers(2 * DOCUMENT // 5, 8 * DOCUMENT // 5 + 1, tokens // SHARDS // DOCUMENT)
    ends = np.cumsum(lengths).tolist()
    ids = random.integers(3, VOCAB, ends[-1], dtype=np.uint32)
    pairs = [
        (f"{i:032x}", Encoded(ids[a:b], 5 * (b - a), b - a, 0, 0.0)) for i, (a, b) in enumerate(pairwise([0, *ends]))
    ]
    names = [folder / f"shard-{number:05d}.h5" for number in range(SHARDS)]
    receipts = [write_shard(name, pairs, _Numbers(), "0" * 32) for name in names]  # type: ignore[arg-type]
    write_manifest(folder, receipts, _Numbers())  # type: ignore[arg-type]


def trainer(stream: Path, scratch: Path) -> Any:
    """Open a stream and plan a training on it."""
    from ulmfit_dist.corpus.stream import TokenStream
    from ulmfit_dist.events import Silent
    from ulmfit_dist.models.language_model import LanguageModel
    from ulmfit_dist.models.settings import AWDLSTMSettings
    from ulmfit_dist.training.checkpoint import CheckpointFolder
    from ulmfit_dist.training.group import Group
    from ulmfit_dist.training.lm import LMData, LMTrainer, LMTrainingSettings, Surroundings

    opened = TokenStream.open(stream)
    sizes = AWDLSTMSettings(embedding_size=32, hidden_size=64, num_layers=2)
    settings = LMTrainingSettings.model_validate({"num_lanes": LANES, "bptt": BPTT, "bptt_jitter": False, "epochs": 1})
    model = LanguageModel(VOCAB, sizes, 1, seed=1)
    surroundings = Surroundings(Group.single(), CheckpointFolder(scratch), Silent())
    return LMTrainer(model, LMData(opened, opened, "forward"), settings, surroundings)


def _anonymous_mib() -> float:
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0]) / 1024


def one_size(stream: Path, scratch: Path) -> dict[str, float]:
    """Plan, train 50 steps, go to the middle; return seconds and MiB."""
    import torch

    torch.set_num_threads(1)
    tiny = scratch / "tiny"
    write_stream(tiny, SHARDS * 2500)
    _steps(trainer(tiny, scratch).windows(0), trainer(tiny, scratch), 3)  # what torch takes with its first steps
    before, clock = _anonymous_mib(), time.perf_counter()
    training = trainer(stream, scratch)
    found = {"tokens": float(training.data.train.num_tokens), "plan s": time.perf_counter() - clock}
    clock = time.perf_counter()
    windows = training.windows(0)
    first = next(windows)
    found["first window s"] = time.perf_counter() - clock
    training.train_step(*first)
    clock = time.perf_counter()
    _steps(windows, training, STEPS - 1)
    found["50 steps s"] = time.perf_counter() - clock
    found["anonymous MiB"] = _anonymous_mib() - before
    clock = time.perf_counter()
    middle = training.windows(0, training.plan.total_steps // 2)
    position, _ = next(middle)
    found["to the middle s"] = time.perf_counter() - clock
    found["middle step"] = float(position.step)
    found["anonymous MiB in the middle"] = _anonymous_mib() - before
    return found


def _steps(windows: Iterator[Any], training: Any, count: int) -> None:
    for _ in range(count):
        training.train_step(*next(windows))


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    root = tmp_path_factory.mktemp("streams")
    for name, tokens in SIZES.items():
        clock = time.perf_counter()
        write_stream(root / name, tokens)
        print(f"\n{name}: written in {time.perf_counter() - clock:.0f} s", flush=True)
    yield {name: root / name for name in SIZES}
    for path in root.rglob("*.h5"):
        path.unlink()


def test_plan_steps_and_the_way_to_the_middle(streams: dict[str, Path], tmp_path: Path) -> None:
    found = {}
    for name, stream in streams.items():
        command = [sys.executable, __file__, str(stream), str(tmp_path / name)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, ", ".join(f"{key} {value:.4g}" for key, value in found[name].items()))
    assert found["1e9"]["tokens"] >= 1e9
    assert found["1e9"]["to the middle s"] <= 2
    for key in ("anonymous MiB", "anonymous MiB in the middle"):
        assert found["1e9"][key] - found["1e7"][key] <= 200, key


def test_a_step_costs_the_same(streams: dict[str, Path], tmp_path: Path) -> None:
    import torch

    torch.set_num_threads(1)
    trainings = {name: trainer(stream, tmp_path / name) for name, stream in streams.items()}
    windows = {name: training.windows(0) for name, training in trainings.items()}
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for turn in range(PAIRS + 5):
        # The order changes from turn to turn: what comes second finds warmer caches.
        for name in sorted(trainings, reverse=bool(turn % 2)):
            clock = time.process_time()
            trainings[name].train_step(*next(windows[name]))
            seconds[name].append(time.process_time() - clock)
    small, large = (np.array(seconds[name][5:]) for name in SIZES)
    ratio = float(np.median(large) / np.median(small))
    quartiles = np.quantile(large / small, [0.25, 0.75]).round(3).tolist()
    print(f"\nCPU time of a step, 1e9 over 1e7, {PAIRS} steps each: {ratio:.4f}; of neighbours {quartiles} (quartiles)")
    assert abs(ratio - 1) <= 0.02


if __name__ == "__main__":
    print(json.dumps(one_size(Path(sys.argv[1]), Path(sys.argv[2]))))
