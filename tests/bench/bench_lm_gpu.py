"""Training speed of the language model on one GPU: jitter, all dropouts, AR and TAR, clipping, AdamW switched on.

    pytest -m slow -s tests/bench/bench_lm_gpu.py

Tokens are random (speed does not depend on them); the stream is a real one, read through its memory map.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch

from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.events import Silent
from ulmfit_dist.models.awd_lstm import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.tokenization.tokenizer import Encoded
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMTrainingSettings, train_lm

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

VOCAB, STEPS = 60_000, 60


class _Numbers:
    unit, name, vocab_size, unk_id, pad_id, bos_id, fingerprint = "word", "numbers", VOCAB, 0, 1, 2, "f" * 32


def _stream(folder: Path, tokens: int) -> TokenStream:
    ids = np.random.default_rng(1).integers(3, VOCAB, size=(tokens // 500, 500), dtype=np.uint32)
    pairs = [(f"{i:032x}", Encoded(row, 2500, 500, 0, 0.0)) for i, row in enumerate(ids)]
    receipt = write_shard(folder / "shard-00000.h5", pairs, _Numbers(), "0" * 32)  # type: ignore[arg-type]
    write_manifest(folder, [receipt], _Numbers())  # type: ignore[arg-type]
    return TokenStream.open(folder)


@pytest.mark.parametrize("lanes", [128, 512])
def test_tokens_per_second(lanes: int, tmp_path: Path) -> None:
    data = LMData(_stream(tmp_path / "train", lanes * 70 * STEPS), _stream(tmp_path / "valid", 50_000), "forward")
    settings = LMTrainingSettings(num_lanes=lanes, log_points=12, device="cuda", checkpoint_seconds=0)
    model = LanguageModel(VOCAB, AWDLSTMSettings(), 1)
    result = train_lm(model, data, settings, Group.single(), CheckpointFolder(tmp_path / "c"), Silent())
    speed = median(point["tokens_per_s"] for point in result.curves["points"][3:])
    memory = torch.cuda.max_memory_allocated() / 2**30
    print(f"\n{torch.cuda.get_device_name()}, {lanes} lanes: {speed:,.0f} tokens/s, {memory:.1f} GiB")
    assert speed > 0
