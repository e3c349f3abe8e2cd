"""The stage that pretrains a language model on token streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from ulmfit_dist.config import operational
from ulmfit_dist.corpus.lanes import Direction
from ulmfit_dist.corpus.staging import ShardCache
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Reporter, Silent
from ulmfit_dist.files import fingerprint, read_json, write_json
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.folder import save_language_model
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings, EncoderSettings
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.tokenization.tokenizer import Tokenizer, load_tokenizer
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.lm import LMData, LMResult, LMTrainingSettings, train_lm
from ulmfit_dist.training.ranks import RankSettings
from ulmfit_dist.training.schedule import Schedule
from ulmfit_dist.training.trackers import stage_reporters

MODEL_NAME = "model"
CURVES_NAME = "curves.json"
CHECKPOINTS_NAME = "checkpoints"
RESULT_NAME = "result.json"
# docs/large_batch.md: at 8e-3 a shorter rise costs 0.2 nats and more.
PRETRAINING = LMTrainingSettings(schedule=Schedule(cut_steps=240))


class PretrainSettings(RankSettings):
    """One language model: its direction, sizes and training; and on how many ranks it is trained."""

    direction: Direction = "forward"
    language: str = Field(default="", description="ISO 639 code for the model card")
    model: EncoderSettings = AWDLSTMSettings()
    drop_mult: float = Field(default=1.0, ge=0, description="multiplies every dropout of the model")
    training: LMTrainingSettings = PRETRAINING
    cache_dir: str = operational("", "folder on each node's disk for copies of the shards; empty: read them in place")
    cache_gb: float = operational(200.0, "what the copies of all runs on a node may take")


def run_pretraining(call: StageCall[PretrainSettings], group: Group | None = None) -> Summary:
    """Train and write `model/` and `curves.json`; every rank of the group calls this.

    Inputs: `tokens` (a folder with the token streams train/ and valid/) and `tokenizer`. Goes on from the newest
    checkpoint in the stage's folder; called again after the end it only returns the summary.
    Raises InputError when streams and tokenizer do not belong together, and what `train_lm` raises.
    """
    group = group or Group.single()
    result = call.out / RESULT_NAME
    if result.is_file():
        return dict(read_json(result))
    tokenizer, data = open_streams(call.inputs, call.settings.direction, partial(_open_stream, call))
    group.wait_at_most(call.settings.group_timeout_seconds)
    settings = call.settings
    model = initial_model(settings, tokenizer)
    checkpoints = CheckpointFolder(call.out / CHECKPOINTS_NAME, reporter=call.reporter)
    with _reporter(call, group) as reporter:
        trained = train_lm(model, data, settings.training, group, checkpoints, reporter)
    summary = _summary(model, trained)
    if group.rank == 0:
        config = _config(settings, tokenizer, _training_record(call, data, group, trained))
        save_language_model(call.out / MODEL_NAME, model, tokenizer, config)
        write_json(call.out / CURVES_NAME, trained.curves)
        write_json(result, summary)
        checkpoints.clear()
    group.barrier()
    return summary


def stream_digest(stream: TokenStream) -> str:
    """xxh3_128 over a stream's shard digests: which tokens a model has seen, 32 hex digits."""
    return fingerprint([shard.xxh3_128 for shard in stream.manifest.shards])


def initial_model(settings: PretrainSettings, tokenizer: Tokenizer) -> LanguageModel:
    """Return the model that pretraining starts from."""
    sizes = settings.model.scaled(settings.drop_mult)
    return LanguageModel(tokenizer.vocab_size, sizes, tokenizer.pad_id, settings.training.seed)


def open_streams(
    inputs: Mapping[str, Path], direction: Direction, open_stream: Callable[[Path], TokenStream] = TokenStream.open
) -> tuple[Tokenizer, LMData]:
    """Open `tokens` and `tokenizer`; InputError when they do not belong together."""
    tokens = inputs["tokens"]
    tokenizer = load_tokenizer(inputs["tokenizer"])
    train, valid = (open_stream(Path(tokens) / split) for split in ("train", "valid"))
    for stream in (train, valid):
        if stream.tokenizer_fingerprint != tokenizer.fingerprint:
            raise InputError(
                f"the tokens in {tokens} were not made by the tokenizer in {inputs['tokenizer']}",
                found=f"{stream.tokenizer_fingerprint[:8]}, the tokenizer is {tokenizer.fingerprint[:8]}",
                do="tokenize again with this tokenizer, or name the other one",
            )
    return tokenizer, LMData(train, valid, direction)


def _open_stream(call: StageCall[PretrainSettings], folder: Path) -> TokenStream:
    settings = call.settings
    if not settings.cache_dir:
        return TokenStream.open(folder)
    cache = ShardCache(Path(settings.cache_dir).expanduser(), int(settings.cache_gb * 1e9))
    return cache.open_stream(folder, call.reporter)


def _reporter(call: StageCall[PretrainSettings], group: Group) -> AbstractContextManager[Reporter]:
    return nullcontext(Silent()) if group.rank else stage_reporters(call, call.settings.training.trackers)


def _summary(model: LanguageModel, trained: LMResult) -> Summary:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"metrics": trained.metrics, "parameters": parameters, "vocab_size": model.encoder.vocab_size}


def _config(settings: PretrainSettings, tokenizer: Tokenizer, training: dict[str, Any]) -> ModelConfig:
    return ModelConfig(
        kind="language_model",
        unit=tokenizer.unit,
        direction=settings.direction,
        language=settings.language,
        training=training,
    )


def _training_record(
    call: StageCall[PretrainSettings], data: LMData, group: Group, trained: LMResult
) -> dict[str, Any]:
    return {
        "stage": "pretrain",
        "metrics": trained.metrics,
        "seed": call.settings.training.seed,
        "settings": call.settings.semantic(),
        "train_tokens": data.train.num_tokens,
        "train_documents": data.train.num_documents,
        "train_digest": stream_digest(data.train),
        "valid_digest": stream_digest(data.valid),
        "world_size": group.world_size,
        "torch": torch.__version__,
    }
