"""A quasi-recurrent model on two gloo ranks is that of one, its state gathered; run as a script this is one rank."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.events import Silent
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import QRNNSettings
from ulmfit_dist.tokenization.tokenizer import Encoded
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMTrainingSettings, train_lm

VOCAB, LANES, KEPT = 30, 5, 20
SIZES = QRNNSettings(embedding_size=7, hidden_size=11, num_layers=2)
SETTINGS = LMTrainingSettings.model_validate(
    {"epochs": 2, "num_lanes": LANES, "bptt": 12, "lr": 0.01, "valid_lanes": 3, "checkpoint_steps": 7, "device": "cpu"}
)


def _write_streams(folder: Path) -> None:
    tokenizer: Any = SimpleNamespace(vocab_size=VOCAB, unit="word", pad_id=1, unk_id=0, bos_id=2, fingerprint="a" * 32)
    generator = np.random.default_rng(3)
    for name, count in (("train", 40), ("valid", 7)):
        (folder / name).mkdir(parents=True)
        texts = [np.array([2, *generator.integers(3, VOCAB, 20)], np.uint32) for _ in range(count)]
        documents = [(f"{index:032x}", Encoded(ids, 80, len(ids), 0, 0.0)) for index, ids in enumerate(texts)]
        write_manifest(folder / name, [write_shard(folder / name / "s.h5", documents, tokenizer, "0" * 32)], tokenizer)


def _train(folder: Path, checkpoints: Path, group: Group) -> None:
    data = LMData(TokenStream.open(folder / "train"), TokenStream.open(folder / "valid"), "forward")
    train_lm(
        LanguageModel(VOCAB, SIZES, 1, seed=1), data, SETTINGS, group, CheckpointFolder(checkpoints, KEPT), Silent()
    )


def test_checkpoints_of_two_ranks_are_those_of_one(tmp_path: Path) -> None:
    _write_streams(tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, __file__, str(tmp_path)]
    ranks = [
        subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    try:
        _train(tmp_path, tmp_path / "one", Group.single())
        for rank in ranks:
            _, errors = rank.communicate(timeout=200)
            assert rank.returncode == 0, errors
    finally:
        for rank in ranks:
            rank.kill()
    steps = sorted(int(path.name.rpartition("-")[2]) for path in (tmp_path / "one").iterdir())
    assert len(steps) >= 3
    for step in steps:
        one, two = (CheckpointFolder(tmp_path / name).load(step).tensors for name in ("one", "two"))
        # Two ranks add gradients in another order; Adam makes of a gradient's last bit at most a step's.
        torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)
    middle = CheckpointFolder(tmp_path / "two").load(steps[0]).tensors
    state = {name: tuple(tensor.shape) for name, tensor in middle.items() if name.startswith("state/")}
    lanes = (1, LANES)
    assert state == {
        "state/0/hidden": (*lanes, 7),
        "state/0/cell": (*lanes, 11),
        "state/1/hidden": (*lanes, 0),
        "state/1/cell": (*lanes, 7),
    }
    assert all(middle[name].ne(0).any() for name in state if name != "state/1/hidden")


if __name__ == "__main__":
    torch.set_num_threads(1)
    root, number = Path(sys.argv[1]), int(sys.argv[2])
    where = f"file://{root}/rendezvous"
    dist.init_process_group("gloo", init_method=where, rank=number, world_size=2, timeout=timedelta(seconds=100))
    _train(root, root / "two", Group.current())
    dist.destroy_process_group()
