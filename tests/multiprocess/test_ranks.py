"""Real torchrun, real gloo ranks: a silent rank is found, a signal checkpoints, the same command goes on bit-equal.

A classifier's ranks train the classifier of one process.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import torch
from safetensors.torch import load_file

from ulmfit_dist.files import read_json

pytestmark = pytest.mark.timeout(400)
TIMEOUT_S = 5


def test_a_silent_rank_and_a_signal_change_nothing_in_the_weights(tmp_path: Path, launching: ModuleType) -> None:
    launching.write_inputs(tmp_path, 80)
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    assert launching.ended(launching.torchrun(launching.pretrain_command(tmp_path, whole))) == 0
    command = launching.pretrain_command(tmp_path, disturbed, {"resources.pretrain_timeout_seconds": TIMEOUT_S})
    process = launching.torchrun(command)
    try:
        launching.wait_for(lambda: launching.newest_point(disturbed) > 20)
        stopped = launching.rank_process(process.pid, 0)
        survivor = launching.rank_process(process.pid, 1)
        stopped.send_signal(signal.SIGSTOP)
        since = time.monotonic()
        # The rank that waits gives up; torchrun would end the stopped one for good after 30 seconds.
        psutil.wait_procs([survivor], timeout=60)
        found = time.monotonic() - since
        stopped.kill()
        launching.wait_for(lambda: launching.events(disturbed, "resumed"))
        assert TIMEOUT_S - 1 < found < TIMEOUT_S + 5
        resumed = launching.events(disturbed, "resumed")[0]["step"]
        launching.wait_for(lambda: launching.newest_point(disturbed) > 60)
        process.send_signal(signal.SIGTERM)
        since = time.monotonic()
        assert launching.ended(process) != 0
        assert time.monotonic() - since < 10
    finally:
        launching.kill_tree(process.pid)
    assert resumed >= 15
    # The checkpoint is that of the very step at which the signal was met.
    newest = max(path.name for path in (disturbed / "checkpoints").iterdir())
    assert newest == f"step-{launching.newest_point(disturbed):09d}"
    assert not (disturbed / "stage.json").exists()
    assert launching.ended(launching.torchrun(launching.pretrain_command(tmp_path, disturbed))) == 0
    assert launching.weights(disturbed) == launching.weights(whole)
    assert launching.curve(disturbed) == launching.curve(whole)
    # A finished stage is left as it is, by all ranks.
    assert launching.ended(launching.torchrun(launching.pretrain_command(tmp_path, whole))) == 0


CLASSIFIER = ["classifier.epochs=2", "classifier.training.batch_size=8", "classifier.training.device='cpu'"]


def _classifier_command(inputs: dict[str, Path], out: Path, *more: str) -> list[str]:
    command = ["train-classifier", str(inputs["model"]), str(inputs["train"]), "--valid", str(inputs["valid"])]
    settings = [*CLASSIFIER, "classifier.training.log_points=1000", "classifier.training.checkpoint_steps=7", *more]
    return [*command, "--out", str(out), *(part for one in settings for part in ("--set", one))]


def test_a_classifiers_ranks_train_together_and_go_on_after_a_kill(tmp_path: Path, launching: ModuleType) -> None:
    inputs = launching.write_task(tmp_path / "task")
    one, two, killed = tmp_path / "one", tmp_path / "two", tmp_path / "killed"
    alone = [sys.executable, "-m", "ulmfit_dist", *_classifier_command(inputs, one)]
    subprocess.run(alone, check=True, stdout=subprocess.DEVNULL)
    assert launching.ended(launching.torchrun(_classifier_command(inputs, two))) == 0
    # One stage of two ranks, not two stages of one: one record, the losses of one process, each step once.
    assert read_json(two / "model" / "config.json")["training"]["world_size"] == 2
    points, others = (read_json(folder / "curves.json")["points"] for folder in (one, two))
    assert [point["step"] for point in others] == [point["step"] for point in points]
    for ours, theirs in zip(points, others, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
    weights = load_file(two / "model" / "model.safetensors")
    for name, tensor in load_file(one / "model" / "model.safetensors").items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    fingerprints = {read_json(folder / "stage.json")["fingerprint"] for folder in (one, two)}
    assert len(fingerprints) == 1

    process = launching.torchrun(_classifier_command(inputs, killed))
    try:
        launching.wait_for(lambda: list(killed.glob("checkpoints/step-*/manifest.json")))
        launching.rank_process(process.pid, 1).kill()
        assert launching.ended(process) == 0
    finally:
        launching.kill_tree(process.pid)
    assert launching.events(killed, "resumed")
    assert launching.weights(killed) == launching.weights(two)
