"""Training speed of the quickstart's language model on a CPU, beside fastai's AWD-LSTM of the same size.

    pytest -m slow -s tests/bench/bench_lm_cpu.py

fastai 2 is compared where it is installed (see bench_tokenize.py). Tokens are random: speed does not depend on them.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import fastai_peer
import numpy as np
import pytest
import torch

from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.events import Silent
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.tokenization.tokenizer import Encoded
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMTrainingSettings, train_lm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
VOCAB, LANES, BPTT, STEPS = 8000, 16, 70, 60
SIZES = AWDLSTMSettings(embedding_size=96, hidden_size=192, num_layers=2)
REPEATS = 3
RANK = """
import sys, torch.distributed as dist
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench_lm_cpu
from ulmfit_dist.training.group import Group
dist.init_process_group("gloo")
speed = bench_lm_cpu.train(Path(sys.argv[2]), Group.current(), threads=1)
if dist.get_rank() == 0:
    print(speed)
dist.destroy_process_group()
"""


class _Numbers:
    unit, name, vocab_size, unk_id, pad_id, bos_id, fingerprint = "word", "numbers", VOCAB, 0, 1, 2, "f" * 32


def _write_stream(folder: Path, tokens: int) -> None:
    ids = np.random.default_rng(1).integers(3, VOCAB, size=(tokens // 500, 500), dtype=np.uint32)
    pairs = [(f"{i:032x}", Encoded(row, 2500, 500, 0, 0.0)) for i, row in enumerate(ids)]
    receipt = write_shard(folder / "shard-00000.h5", pairs, _Numbers(), "0" * 32)  # type: ignore[arg-type]
    write_manifest(folder, [receipt], _Numbers())  # type: ignore[arg-type]


def train(folder: Path, group: Group, threads: int) -> float:
    """Train an epoch of the streams in `folder`; return tokens a second, all ranks together."""
    data = LMData(TokenStream.open(folder / "train"), TokenStream.open(folder / "valid"), "forward")
    settings = LMTrainingSettings(
        num_lanes=LANES, bptt=BPTT, log_points=12, device="cpu", checkpoint_seconds=0, cpu_threads=threads
    )
    checkpoints = CheckpointFolder(folder / f"checkpoints-{time.monotonic_ns()}")
    result = train_lm(LanguageModel(VOCAB, SIZES, 1), data, settings, group, checkpoints, Silent())
    return statistics.median(point["tokens_per_s"] for point in result.curves["points"][3:])


def _train_two_ranks(folder: Path) -> float:
    port = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29500 + os.getpid() % 1000), "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(Path(__file__).parent), str(folder)],
            env={**os.environ, **port, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate()[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    return float(outputs[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write_stream(tmp_path / "train", LANES * BPTT * STEPS)
    _write_stream(tmp_path / "valid", 5000)
    return tmp_path


def test_tokens_per_second_beside_fastai(folder: Path) -> None:
    if importlib.util.find_spec("fastai") is None:
        pytest.skip("fastai is not installed")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ours, theirs = [], []
        for _ in range(REPEATS):
            ours.append(train(folder, Group.single(), threads))
            theirs.append(fastai_peer.tokens_per_second(SIZES, VOCAB, (LANES, BPTT), STEPS))
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"\n{threads} threads: {statistics.median(ours):,.0f} tokens/s, fastai {statistics.median(theirs):,.0f}")
        print(f"x{ratio:.2f}")
    assert ratio >= 1.3


def test_two_ranks_scale_as_the_cores_do(folder: Path) -> None:
    one, both = (statistics.median(train(folder, Group.single(), count) for _ in range(REPEATS)) for count in (1, 2))
    two = statistics.median(_train_two_ranks(folder) for _ in range(REPEATS))
    print(f"\none rank {one:,.0f} tokens/s, two gloo ranks {two:,.0f}: x{two / one:.2f}")
    print(f"one process with two threads {both:,.0f}")
    assert two >= both
