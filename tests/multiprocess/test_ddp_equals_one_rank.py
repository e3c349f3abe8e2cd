"""Two real ranks (gloo, two processes) train as one does, dropout on; run as a script this file is one of the ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel

from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.errors import StoppedError
from ulmfit_dist.events import Silent
from ulmfit_dist.files import read_json, write_json
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.tokenization.tokenizer import Encoded
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMResult, LMTrainer, LMTrainingSettings, Surroundings, train_lm
from ulmfit_dist.training.steps import PlainStep
from ulmfit_dist.training.stop import STOP

VOCAB = 30
SIZES = AWDLSTMSettings(embedding_size=7, hidden_size=11, num_layers=2, weight_dropout=0.4, embedding_dropout=0.2)
# Five lanes over two ranks, two and three; a frozen epoch, so that the ranks are joined twice; averages at the end.
SETTINGS = LMTrainingSettings.model_validate(
    {"epochs": 2, "frozen_epochs": 1, "num_lanes": 5, "bptt": 12, "lr": 0.01, "valid_lanes": 3, "log_points": 10_000}
    | {"ema": 0.8}
)
STOP_AT = 9


def _write_streams(folder: Path) -> None:
    tokenizer: Any = SimpleNamespace(vocab_size=VOCAB, unit="word", pad_id=1, unk_id=0, bos_id=2, fingerprint="a" * 32)
    generator = np.random.default_rng(3)
    for name, count in (("train", 45), ("valid", 7)):
        (folder / name).mkdir(parents=True)
        documents = []
        for index in range(count):
            ids = np.array([2, *generator.integers(3, VOCAB, generator.integers(5, 30))], np.uint32)
            documents.append((f"{index:032x}", Encoded(ids, 4 * len(ids), len(ids), 0, 0.0)))
        write_manifest(folder / name, [write_shard(folder / name / "s.h5", documents, tokenizer, "0" * 32)], tokenizer)


def _data(folder: Path) -> LMData:
    return LMData(TokenStream.open(folder / "train"), TokenStream.open(folder / "valid"), "forward")


def _train(
    folder: Path, checkpoints: Path, group: Group, settings: LMTrainingSettings = SETTINGS
) -> tuple[LanguageModel, LMResult]:
    model = LanguageModel(VOCAB, SIZES, 1, seed=1)
    result = train_lm(model, _data(folder), settings, group, CheckpointFolder(checkpoints), Silent())
    return model, result


def _rank_main(folder: Path, rank: int, world_size: int) -> None:
    torch.set_num_threads(1)
    rendezvous = f"file://{folder}/rendezvous"
    timeout = timedelta(seconds=100)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world_size, timeout=timeout)
    group = Group.current()
    facts = {"tied": _tie_under_ddp(folder, group)}
    in_parts = SETTINGS.model_copy(update={"accumulation": 2})
    model, result = _train(folder, folder / "whole", group, in_parts)
    facts["stopped"] = _stop_from_the_last_rank(folder, group)
    save_file(dict(model.state_dict()), folder / f"weights-{rank}.safetensors")
    facts["totals"] = [_total_of_1_001(group, compressed=compressed) for compressed in (False, True)]
    compressed = SETTINGS.model_copy(update={"gradient_compression": "bf16"})
    model, sent = _train(folder, folder / "compressed", group, compressed)
    save_file(dict(model.state_dict()), folder / f"compressed-{rank}.safetensors")
    facts["compressed"] = [point["gradient_norm"] for point in sent.curves["points"]]
    write_json(folder / f"facts-{rank}.json", {**facts, "metrics": result.metrics, "curves": result.curves})
    dist.destroy_process_group()


def _total_of_1_001(group: Group, *, compressed: bool) -> float:
    gradient = torch.tensor([1.001])
    group.total_gradient(gradient, compressed=compressed)
    return gradient.item()


def _tie_under_ddp(folder: Path, group: Group) -> bool:
    model = LanguageModel(VOCAB, SIZES, 1, seed=1)
    trainer = LMTrainer(model, _data(folder), SETTINGS, Surroundings(group, CheckpointFolder(folder / "tie"), Silent()))
    position, window = next(trainer.windows(0, 0))
    trainer.train_step(position, window)
    assert isinstance(trainer.step, PlainStep)
    assert isinstance(trainer.step.wrapped, DistributedDataParallel)
    names = [name for name, _ in trainer.step.wrapped.named_parameters()]
    return (
        model.decoder_weight is model.encoder.embedding
        and sum("embedding" in name for name in names) == 1
        and len(names) == len(list(model.parameters()))
    )


def _stop_from_the_last_rank(folder: Path, group: Group) -> str:
    """Only the last rank sees the signal; every rank must stop after the same step, with a checkpoint."""

    class Watch(LMTrainer):
        def train_step(self, position: Any, window: Any) -> None:
            if position.step == STOP_AT and group.rank == group.world_size - 1:
                STOP.request()
            super().train_step(position, window)

    model = LanguageModel(VOCAB, SIZES, 1, seed=1)
    surroundings = Surroundings(group, CheckpointFolder(folder / "stopped"), Silent())
    try:
        Watch(model, _data(folder), SETTINGS, surroundings).train()
    except StoppedError as error:
        return error.found
    finally:
        STOP.clear()
    return "not stopped"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two ranks in processes of their own; what they wrote."""
    folder = tmp_path_factory.mktemp("ddp")
    _write_streams(folder)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, __file__, str(folder)]
    ranks = [
        subprocess.Popen([*command, str(rank), "2"], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        for rank in ranks:
            _, errors = rank.communicate(timeout=200)
            assert rank.returncode == 0, errors
    finally:
        for rank in ranks:
            rank.kill()
    return folder


@pytest.fixture(scope="module")
def one_rank(folder: Path) -> Iterator[tuple[LanguageModel, LMResult]]:
    """Train in this process, alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield _train(folder, folder / "one", Group.single())
    torch.set_num_threads(threads)


def test_every_loss_and_validation_is_that_of_one_rank(folder: Path, one_rank: tuple[LanguageModel, LMResult]) -> None:
    two, one = read_json(folder / "facts-0.json"), one_rank[1]
    points = one.curves["points"]
    assert len(points) == len(two["curves"]["points"]) == one.metrics["steps"] > 30
    for ours, theirs in zip(points, two["curves"]["points"], strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-5)
        assert theirs["gradient_norm"] == pytest.approx(ours["gradient_norm"], rel=1e-4)
        assert theirs["tokens"] == ours["tokens"]
    for ours, theirs in zip(one.curves["epochs"], two["curves"]["epochs"], strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-5)
        assert theirs["accuracy"] == ours["accuracy"]


def test_ranks_end_with_the_same_weights_and_those_of_one_rank(
    folder: Path, one_rank: tuple[LanguageModel, LMResult]
) -> None:
    first, second = (load_file(folder / f"weights-{rank}.safetensors") for rank in range(2))
    for name, tensor in one_rank[0].state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_compressed_gradients_travel_in_bfloat16_and_the_ranks_stay_equal(
    folder: Path, one_rank: tuple[LanguageModel, LMResult]
) -> None:
    first, second = (load_file(folder / f"compressed-{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    facts = read_json(folder / "facts-0.json")
    # bfloat16 has 8 bits: 1.001 is 1 there.
    assert facts["totals"] == [pytest.approx(2.002), 2.0]
    exact = [point["gradient_norm"] for point in one_rank[1].curves["points"]]
    assert facts["compressed"][0] == pytest.approx(exact[0], rel=2**-8)
    assert facts["compressed"][0] != pytest.approx(exact[0], rel=1e-6)


def test_the_decoder_stays_tied_under_ddp(folder: Path) -> None:
    assert all(read_json(folder / f"facts-{rank}.json")["tied"] for rank in range(2))


def test_a_stop_seen_by_one_rank_stops_both_after_the_same_step(folder: Path) -> None:
    found = {read_json(folder / f"facts-{rank}.json")["stopped"] for rank in range(2)}
    assert found == {f"saved after step {STOP_AT + 1}"}


def test_one_rank_goes_on_from_what_two_saved(folder: Path, one_rank: tuple[LanguageModel, LMResult]) -> None:
    _, resumed = _train(folder, folder / "stopped", Group.single())
    whole = one_rank[1].curves["points"]
    assert len(resumed.curves["points"]) == len(whole)
    for ours, theirs in zip(whole, resumed.curves["points"], strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-5)
        assert theirs["tokens"] == ours["tokens"]


if __name__ == "__main__":
    _rank_main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
