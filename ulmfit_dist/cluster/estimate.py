"""What a stage will cost, before it runs: tokens, seconds, memory. Rough, and shown as such; what is done is exact.

The trainer's start was measured; the other constants are round guesses that a test holds within a factor of three of
the measured quickstart (two cores of a Xeon). The GPU's is a peer benchmark's, not checked against our own training.
"""

from __future__ import annotations

from dataclasses import dataclass

from ulmfit_dist.cluster.pipeline import INGEST_CORPUS, INGEST_TASK
from ulmfit_dist.cluster.plan import Plan, PlannedStage
from ulmfit_dist.cluster.recipe import Recipe
from ulmfit_dist.corpus.compression import COMPRESSION_SUFFIXES
from ulmfit_dist.corpus.documents import read_manifest
from ulmfit_dist.corpus.locations import Location, files_in, size_of
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import RECORD_NAME

_COMPRESSION = 2.6  # of English text by gzip
_CHARACTERS_PER_TOKEN = {"word": 5.0, "subword": 4.0}  # 30k English pieces; smaller vocabularies need more tokens
_INGEST_CHARACTERS_PER_S = 1.5e6
_TOKENIZE_CHARACTERS_PER_S = 1.0e6  # spaCy's own speed, one core
_FLOPS_PER_CORE = 25e9  # float32, matrices of quickstart size
_FLOPS_PER_GPU = 60e12  # bf16, 1.0 M tokens/s of 44 M parameters (peer benchmark, H100)
_TRAINER_START_S = 18.0  # TorchTrainer until the loop's first line, two workers on two cores
_TASK_START_S = 4.0  # a new process that imports torch
_PROCESS_MB = 450.0  # torch and Ray in one process
_TRAINER_MB = 900.0  # what a TorchTrainer fit brings beside its ranks: its own task, a controller, three watchers
_BYTES_PER_WEIGHT = 20.0  # weight, gradient, two moments, and one more in flight


@dataclass(frozen=True)
class Estimate:
    """Tokens that pass through the stage (0: none to speak of), wall seconds, and peak memory of its processes."""

    tokens: float
    seconds: float
    memory_mb: float


def estimate(stage: PlannedStage, recipe: Recipe, plan: Plan) -> Estimate:
    """Return what the stage will cost, or did cost if it is done (memory stays a guess)."""
    guess = _guess(stage, recipe, plan)
    if not stage.done():
        return guess
    return Estimate(guess.tokens, float(read_json(stage.folder / RECORD_NAME)["seconds"]), guess.memory_mb)


def _guess(stage: PlannedStage, recipe: Recipe, plan: Plan) -> Estimate:
    kind, unit = stage.spec.kind, "subword" if "subword" in stage.name else "word"
    corpus, task = (_characters(plan, name) for name in (INGEST_CORPUS, INGEST_TASK))
    if kind == "ingest":
        characters = corpus if stage.name == INGEST_CORPUS else task
        return Estimate(0, _TASK_START_S + characters / _INGEST_CHARACTERS_PER_S, 200)
    if kind in ("train-tokenizer", "tokenize"):
        seconds = _TASK_START_S + corpus / _TOKENIZE_CHARACTERS_PER_S / stage.spec.cpus
        return Estimate(corpus / _CHARACTERS_PER_TOKEN[unit], seconds, 250 * stage.spec.cpus)
    if kind == "pretrain":
        return _pretraining(recipe, corpus / _CHARACTERS_PER_TOKEN[unit], unit)
    tokens = task / _CHARACTERS_PER_TOKEN[unit]
    if kind in ("finetune-lm", "train-classifier"):
        return _task_training(kind, recipe, tokens, unit)
    members = len(recipe.units) * len(recipe.directions)
    share = recipe.task.test_share + recipe.task.valid_share if recipe.task else 0.0
    seconds = _TASK_START_S + 2 * recipe.model.layer_weights() * tokens * share * members / _FLOPS_PER_CORE
    return Estimate(tokens * share * members, seconds, _PROCESS_MB)


def _pretraining(recipe: Recipe, tokens: float, unit: str) -> Estimate:
    resources, epochs = recipe.resources, recipe.pretrain.training.epochs
    weights = recipe.model.layer_weights() + _embedding_weights(recipe, unit)
    workers = resources.pretrain_workers
    gpu = resources.pretrain_gpus_per_worker > 0
    rate = _FLOPS_PER_GPU if gpu else _FLOPS_PER_CORE * min(1.0, resources.pretrain_cpus_per_worker)
    seconds = _TRAINER_START_S + 6 * weights * tokens * epochs / (rate * workers)
    return Estimate(tokens * epochs, seconds, _TRAINER_MB + workers * (_PROCESS_MB + weights * _BYTES_PER_WEIGHT / 1e6))


def _task_training(kind: str, recipe: Recipe, tokens: float, unit: str) -> Estimate:
    if kind == "finetune-lm":
        epochs = recipe.finetune.training.epochs + recipe.finetune.training.frozen_epochs
        weights = recipe.model.layer_weights() + _embedding_weights(recipe, unit)
    else:
        epochs, weights = recipe.classifier.epochs + 2, recipe.model.layer_weights()
    seconds = _TASK_START_S + 6 * weights * tokens * epochs / _FLOPS_PER_CORE
    return Estimate(tokens * epochs, seconds, _PROCESS_MB + weights * _BYTES_PER_WEIGHT / 1e6)


def _embedding_weights(recipe: Recipe, unit: str) -> float:
    choice = recipe.tokenizers.word if unit == "word" else recipe.tokenizers.subword
    tokenizer = choice.resolve()
    size = tokenizer.max_vocab if tokenizer.unit == "word" else tokenizer.vocab_size
    return float(size * recipe.model.embedding_size)


def _characters(plan: Plan, name: str) -> float:
    """Characters of an ingest stage: exact once it is done, else guessed from the sources' bytes."""
    stage = plan.stages.get(name)
    if stage is None:
        return 0.0
    if stage.done():
        return float(sum(read_manifest(folder).characters for folder in stage.folder.iterdir() if folder.is_dir()))
    return sum(_plain_bytes(location) for location in stage.sources)


def _plain_bytes(location: Location) -> float:
    files = [file for _, file in files_in(location)] if location.is_dir() else [location]
    return sum(
        float(size_of(file)) * (_COMPRESSION if file.name.endswith(COMPRESSION_SUFFIXES) else 1.0) for file in files
    )
