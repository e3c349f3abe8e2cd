"""Target-task fine-tuning of a language model (paper section 3.2): the model goes on reading, now the task's own text.

Only the training split's text is read, and an unlabelled folder where one is given: a test text only where the recipe
says so, and then the model's config.json and the evaluation's table of leaks say so too. A word model gets the task's
own vocabulary (words of the old one keep their rows); a subword model keeps its pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import MANIFEST_NAME, read_manifest, write_documents
from ulmfit_dist.files import digest_file, write_json
from ulmfit_dist.finetune.labelled import read_training_documents
from ulmfit_dist.finetune.remap import coverage, remap_rows
from ulmfit_dist.finetune.subsets import SubsetSettings, smaller_part
from ulmfit_dist.finetune.tokens import task_texts, write_task_stream
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.folder import load_language_model, save_language_model
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.tokenization.tokenizer import Tokenizer
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer
from ulmfit_dist.training.checkpoint import CheckpointFolder
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.groups import discriminative_factors
from ulmfit_dist.training.lm import LMData, LMTrainingSettings, train_lm
from ulmfit_dist.training.trackers import stage_reporters

CURVES_NAME = "curves.json"
UNLABELLED, TEST = "unlabelled", "test"
_ITEM_CHARACTERS = 64_000_000
_SIZES = ("embedding_size", "hidden_size", "num_layers", "decoder_bias")
# fast.ai 2018, finetune_lm.py: one epoch of the head at half the rate, then all layers.
_TRAINING = LMTrainingSettings(epochs=10, frozen_epochs=1, lr=4e-3, frozen_lr=2e-3)


class FinetuneLMSettings(Settings):
    """How a language model is fine-tuned."""

    max_vocab: int = Field(default=60_000, ge=10, description="word models: most entries of the task's vocabulary")
    min_freq: int = Field(default=3, ge=1, description="word models: how often a word must occur in the task's text")
    drop_mult: float = Field(default=1.0, ge=0, le=3, description="multiplies the five dropouts of the language model")
    rates: Literal["2018", "paper", "training"] = Field(
        default="2018",
        description="rates of the layers: lr/6, lr/3, lr, lr/2 (2018), lr/2.6^k (paper), or as `training` says",
    )
    labelled_only: bool = Field(
        default=False, description="in a recipe: read the classifier's train_size documents alone, nothing unlabelled"
    )
    test_text: bool = Field(default=False, description="in a recipe: read the test split's text too; it is recorded")
    subset: SubsetSettings = Field(default=SubsetSettings(), description="which of the training documents are read")
    training: LMTrainingSettings = Field(default=_TRAINING, description="epochs, rates and schedule")


def finetune_lm(call: StageCall[FinetuneLMSettings]) -> Summary:
    """Fine-tune a language model on a task's text; writes out/model, out/tokens and curves.json.

    Inputs: `model`, a language-model folder; `train` and `valid`, document folders; optionally `unlabelled` and `test`,
    document folders whose text is read in training too. Without any epoch the model is only carried over to the task's
    vocabulary. Resumable: a second call continues from out/checkpoints.
    Raises InputError for a model or document folder that is none, DataError for a text without frequent words.
    """
    model, tokenizer, config = load_language_model(call.inputs["model"])
    folders = _folders(call)
    settings = call.settings
    adapted, task_tokenizer, covered = adapted_model(model, tokenizer, folders, settings)
    tokens = call.out / "tokens"
    data = LMData(
        train=write_task_stream(folders, task_tokenizer, tokens / "train"),
        valid=write_task_stream([call.inputs["valid"]], task_tokenizer, tokens / "valid"),
        direction=config.direction,
    )
    checkpoints = CheckpointFolder(call.out / "checkpoints", reporter=call.reporter)
    training = with_rates(settings, adapted)
    with stage_reporters(call, training.trackers) as reporter:
        result = train_lm(adapted, data, training, Group.single(), checkpoints, reporter)
    metrics = {**result.metrics, "coverage": covered}
    history = config.model_copy(update={"training": _history(call, config, metrics)})
    save_language_model(call.out / "model", adapted, task_tokenizer, history)
    write_json(call.out / CURVES_NAME, result.curves)
    checkpoints.clear()
    return {"metrics": metrics, "vocab_size": task_tokenizer.vocab_size}


def layer_factors(rates: Literal["2018", "paper"], num_groups: int) -> list[float]:
    """Return each group's share of the rate, lowest (rnn0) first, the decoder last.

    2018: lr/6, lr/3, lr, lr/2 for three layers and the decoder; deeper models go on halving downwards. paper: lr/2.6^k.
    """
    if rates == "paper":
        return discriminative_factors(num_groups)
    below = [1 / (3 * 2**depth) for depth in range(num_groups - 2)]
    return [*reversed(below), 1.0, 0.5]


def adapted_model(
    model: LanguageModel, tokenizer: Tokenizer, folders: Sequence[Path], settings: FinetuneLMSettings
) -> tuple[LanguageModel, Tokenizer, dict[str, Any] | None]:
    """Return the model with fine-tuning's dropouts and, for words, the task's vocabulary, and what that covers."""
    sizes = {name: getattr(model.encoder.settings, name) for name in _SIZES}
    architecture = type(model.encoder.settings)(**sizes).scaled(settings.drop_mult)
    state = model.state_dict()
    covered = None
    if isinstance(tokenizer, WordTokenizer):
        recipe = tokenizer.recipe.model_copy(update={"max_vocab": settings.max_vocab, "min_freq": settings.min_freq})
        counts = count_words(task_texts(folders), WordSplitter(recipe))
        old = tokenizer.vocabulary.itos
        tokenizer = WordTokenizer(recipe, build_vocabulary(counts, recipe))
        new = tokenizer.vocabulary.itos
        covered = coverage(old, new, counts.words).as_json()
        rows_of_vocabulary = ("encoder.embedding", "decoder_bias")
        state |= {name: remap_rows(state[name], old, new) for name in rows_of_vocabulary if name in state}
    adapted = LanguageModel(tokenizer.vocab_size, architecture, model.encoder.pad_id)
    adapted.load_state_dict(state)
    return adapted, tokenizer, covered


def _folders(call: StageCall[FinetuneLMSettings]) -> list[Path]:
    """Return the document folders that are read in training; a part of one is written out."""
    train, subset = call.inputs["train"], call.settings.subset
    if subset.size:
        part = smaller_part(read_training_documents(train, subset.targets), subset.size, subset.seed)
        names, train = read_manifest(train).label_names, call.out / "labelled"
        write_documents(train, part.documents, _ITEM_CHARACTERS, names)
    return [train, *(call.inputs[name] for name in (UNLABELLED, TEST) if name in call.inputs)]


def with_rates(settings: FinetuneLMSettings, model: LanguageModel) -> LMTrainingSettings:
    """Return how the model is trained, with the shares of the rate that `rates` names."""
    if settings.rates == "training":
        return settings.training
    factors = layer_factors(settings.rates, len(model.layer_groups()))
    return settings.training.model_copy(update={"layer_factors": factors})


def _history(call: StageCall[FinetuneLMSettings], config: ModelConfig, metrics: dict[str, Any]) -> dict[str, Any]:
    documents = {name: digest_file(folder / MANIFEST_NAME) for name, folder in call.inputs.items() if name != "model"}
    return {
        "stage": "finetune_lm",
        "from": {"encoder_fingerprint": config.encoder_fingerprint, "training": config.training},
        "settings": call.settings.semantic(),
        "documents": documents,
        "metrics": metrics,
    }
