"""kill -9 at random steps: the training that goes on ends with the weights of the one that was never killed.

Run as a script this file is the training process: it says on standard output which step it has done.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.events import Silent
from ulmfit_dist.files import read_json, write_bytes, write_json
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.tokenization.tokenizer import Encoded
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMTrainingSettings, train_lm

VOCAB = 40
SIZES = AWDLSTMSettings(embedding_size=10, hidden_size=16, num_layers=2)
# A checkpoint every other step, so that many kills fall into the writing of one.
SETTINGS = LMTrainingSettings.model_validate(
    {"epochs": 3, "num_lanes": 4, "bptt": 12, "lr": 0.01, "checkpoint_steps": 2, "seed": 5}
)


def write_streams(folder: Path) -> None:
    """Write random text: about 120 steps of training."""
    tokenizer: Any = SimpleNamespace(vocab_size=VOCAB, unit="word", pad_id=1, unk_id=0, bos_id=2, fingerprint="a" * 32)
    generator = np.random.default_rng(9)
    for name, count in (("train", 100), ("valid", 5)):
        (folder / name).mkdir(parents=True)
        documents = []
        for index in range(count):
            ids = np.array([2, *generator.integers(3, VOCAB, generator.integers(5, 30))], np.uint32)
            documents.append((f"{index:032x}", Encoded(ids, 4 * len(ids), len(ids), 0, 0.0)))
        write_manifest(folder / name, [write_shard(folder / name / "s.h5", documents, tokenizer, "0" * 32)], tokenizer)


class _Tell(Silent):
    def event(self, kind: str, **fields: Any) -> None:
        if kind == "point":
            print(fields["step"], flush=True)


def train(folder: Path, checkpoints: str) -> None:
    """Train to the end; write weights.bin and curves.json beside the checkpoints."""
    torch.set_num_threads(1)
    data = LMData(TokenStream.open(folder / "train"), TokenStream.open(folder / "valid"), "forward")
    model = LanguageModel(VOCAB, SIZES, 1, seed=1)
    settings = SETTINGS.model_copy(update={"log_points": 10_000})
    result = train_lm(model, data, settings, Group.single(), CheckpointFolder(folder / checkpoints), _Tell())
    weights = b"".join(tensor.numpy().tobytes() for _, tensor in sorted(model.state_dict().items()))
    write_bytes(folder / checkpoints / "weights.bin", weights)
    write_json(folder / checkpoints / "curves.json", result.curves)


def start(folder: Path, checkpoints: str) -> subprocess.Popen[str]:
    """Start the training process."""
    command = [sys.executable, __file__, str(folder), checkpoints]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def kill_at(folder: Path, step: int) -> list[int]:
    """Start or continue the training, kill -9 it once it has done `step`; return the steps it did."""
    process = start(folder, "killed")
    assert process.stdout is not None
    done = []
    for line in process.stdout:
        done.append(int(line))
        if done[-1] >= step:
            process.kill()
            break
    done += [int(line) for line in process.stdout.read().splitlines() if line.isdigit()]
    process.stdout.close()
    process.wait()
    return done


def finish(folder: Path, checkpoints: str) -> None:
    """Let the training run to its end."""
    process = start(folder, checkpoints)
    process.communicate(timeout=200)
    assert process.returncode == 0


def check_kills(folder: Path, num_kills: int) -> None:
    """Kill one training that often, at random steps; assert that it goes on and ends bit-equal."""
    write_streams(folder)
    finish(folder, "whole")
    points = read_json(folder / "whole" / "curves.json")["points"]
    steps = sorted(random.SystemRandom().sample(range(1, len(points) - 3), num_kills))
    last = 0
    for step in steps:
        done = kill_at(folder, step)
        assert done, f"nothing done before the kill at {step} of {steps}"
        assert done[-1] < len(points), f"the kill at {step} of {steps} came too late"
        # A kill inside the writing of a checkpoint costs that one's interval and the one before it.
        assert last - 4 < done[0] <= last + 1, f"went on at {done[0]} after {last}"
        last = done[-1]
    finish(folder, "killed")
    weights = [(folder / name / "weights.bin").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1], f"killed at {steps}"
    losses = [
        [
            (point["step"], point["tokens"], point["loss"])
            for point in read_json(folder / name / "curves.json")["points"]
        ]
        for name in ("whole", "killed")
    ]
    assert losses[0] == losses[1], f"killed at {steps}"


def test_killed_three_times_it_ends_bit_equal(tmp_path: Path) -> None:
    check_kills(tmp_path, 3)
    # What the kills left half written is gone.
    names = {path.name for path in (tmp_path / "killed").iterdir()}
    assert not [name for name in names if ".tmp-" in name]
    assert len([name for name in names if name.startswith("step-")]) == 2


if __name__ == "__main__":
    train(Path(sys.argv[1]), sys.argv[2])
