"""Small trainings by command, under torchrun or Ray: their inputs, their processes, and what became of them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ulmfit_dist.corpus.documents import Document, document_id, write_documents
from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.events import read_events
from ulmfit_dist.files import read_json
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.folder import save_language_model
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.tokenization.recipe import WordRecipe, load_recipe
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer

CHANGES = {
    "model.embedding_size": 10,
    "model.hidden_size": 16,
    "model.num_layers": 2,
    "pretrain.training.epochs": 3,
    "pretrain.training.num_lanes": 6,
    "pretrain.training.bptt": 10,
    "pretrain.training.valid_lanes": 3,
    "pretrain.training.checkpoint_steps": 5,
    "pretrain.training.log_points": 100_000,  # an event a step: the tests wait for steps
}


_WORDS = ("film", "plot", "scene", "music", "lovely", "joyful", "clever", "dull", "awful", "slow")


def write_inputs(folder: Path, num_documents: int = 150) -> None:
    """Write `tokenizer/` and `tokens/`: random sentences of 40 words, about 40 tokens each; 3 x 100 steps."""
    generator = random.Random(7)
    words = [f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(40)]
    texts = [" ".join(generator.choices(words, k=40)) for _ in range(num_documents)]
    recipe = load_recipe("en/word_60k")
    assert isinstance(recipe, WordRecipe)
    tokenizer = WordTokenizer(recipe, build_vocabulary(count_words(texts, WordSplitter(recipe)), recipe))
    tokenizer.save(folder / "tokenizer")
    for name, part in (("train", texts[5:]), ("valid", texts[:5])):
        (folder / "tokens" / name).mkdir(parents=True)
        documents = [(document_id(name, str(i)), e) for i, e in enumerate(tokenizer.encode(part))]
        receipt = write_shard(folder / "tokens" / name / "shard-00000.h5", documents, tokenizer, "0" * 32)
        write_manifest(folder / "tokens" / name, [receipt], tokenizer)


def write_task(folder: Path) -> dict[str, Path]:
    """Write an untrained language model, and documents of one to nine words whose class is that of their last words.

    Returns {model, train (43 documents), valid, unlabelled: folder}.
    """
    generator = np.random.default_rng(1)
    for split, count in (("train", 43), ("valid", 15), ("unlabelled", 3)):
        documents = []
        for i in range(count):
            words = [*generator.choice(_WORDS[:4], i % 7), *generator.choice(_WORDS[4:7] if i % 2 else _WORDS[7:], 2)]
            label = None if split == "unlabelled" else ("bad", "good")[i % 2]
            documents.append(Document(document_id(split, str(i)), " ".join(words), label=label))
        write_documents(folder / split, documents, 800)
    recipe = WordRecipe.model_validate({"max_vocab": 100, "min_freq": 1})
    tokenizer = WordTokenizer(recipe, build_vocabulary(count_words([" ".join(_WORDS)], WordSplitter(recipe)), recipe))
    sizes = AWDLSTMSettings(embedding_size=10, hidden_size=14, num_layers=2)
    config = ModelConfig(kind="language_model", unit="word", direction="forward")
    model = LanguageModel(tokenizer.vocab_size, sizes, tokenizer.pad_id, 1)
    save_language_model(folder / "lm", model, tokenizer, config)
    return {"model": folder / "lm", **{split: folder / split for split in ("train", "valid", "unlabelled")}}


def pretrain_command(inputs: Path, out: Path, changes: dict[str, Any] | None = None) -> list[str]:
    """Return the arguments of `ulmfit` for a pretraining into `out`."""
    command = ["pretrain", str(inputs / "tokens"), "--direction", "forward", "--out", str(out)]
    command += ["--tokenizer", str(inputs / "tokenizer")]
    for key, value in {**CHANGES, **(changes or {})}.items():
        command += ["--set", f"{key}={value}"]
    return command


def torchrun(arguments: list[str], ranks: int = 2, restarts: int = 3) -> subprocess.Popen[str]:
    """Start `ulmfit` with so many ranks; a rank that does not end on SIGTERM is killed after two seconds."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks), "--standalone"]
    launcher += ["--max-restarts", str(restarts), "--monitor-interval", "0.2", "--shutdown-timeout", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [*launcher, "-m", "ulmfit_dist", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,  # stderr is the test's: a pipe that nobody reads would fill and stop the ranks
        text=True,
    )


def ended(process: subprocess.Popen[str], seconds: float = 300) -> int:
    """Wait for the launcher's end; return its exit code."""
    try:
        process.communicate(timeout=seconds)
    finally:
        kill_tree(process.pid)
    return process.returncode


def rank_process(launcher: int, rank: int) -> psutil.Process:
    """Return the process of a rank that a launcher has started."""
    for child in psutil.Process(launcher).children(recursive=True):
        try:
            if child.environ().get("RANK") == str(rank):
                return child
        except psutil.Error:
            continue
    raise LookupError(rank)


def kill_tree(pid: int) -> None:
    """Kill a process and all that it has started."""
    try:
        root = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    for process in [*root.children(recursive=True), root]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Return what the condition gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise TimeoutError(condition)


def events(out: Path, kind: str) -> list[dict[str, Any]]:
    """Return the events of a kind."""
    return [event for event in read_events(out / "events.jsonl") if event["kind"] == kind]


def newest_point(out: Path) -> int:
    """Return the step of the newest point of the training curve; 0 before the first."""
    points = events(out, "point")
    return int(points[-1]["step"]) if points else 0


def curve(out: Path) -> list[tuple[int, int, float]]:
    """Return (step, tokens, loss) of every step, as the trained model's curves have it."""
    return [(point["step"], point["tokens"], point["loss"]) for point in read_json(out / "curves.json")["points"]]


def weights(out: Path) -> bytes:
    """Return the bytes of the trained weights."""
    return (out / "model" / "model.safetensors").read_bytes()
