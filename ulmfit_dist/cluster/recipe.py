"""The recipe of a run: one TOML file that says what to run. Its sections are the settings of the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ulmfit_dist.config import Settings, apply_overrides, data_folder, load_toml, operational, parse_settings
from ulmfit_dist.corpus.locations import locate
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.finetune.classifier import TrainClassifierSettings
from ulmfit_dist.finetune.ensemble import EnsembleSettings
from ulmfit_dist.finetune.evaluate import EvaluateSettings
from ulmfit_dist.finetune.lm import FinetuneLMSettings
from ulmfit_dist.models.settings import AWDLSTMSettings, EncoderSettings
from ulmfit_dist.tokenization.recipe import TokenizerRecipe, load_recipe
from ulmfit_dist.training.lm import LMTrainingSettings
from ulmfit_dist.training.pretrain import PRETRAINING

Unit = Literal["word", "subword"]
Direction = Literal["forward", "backward"]
Share = Annotated[float, Field(ge=0, lt=1)]


class CorpusSettings(Settings):
    """The raw text that the language models are pretrained on."""

    sources: list[str] = Field(min_length=1, description="files or folders, relative to the recipe, or URLs")
    columns: SourceColumns = Field(default=SourceColumns(), description="where a table's text stands")
    languages: list[str] = Field(default=[], description="languages of crawl documents that are kept; empty: all")
    valid_share: Share = Field(default=0.05, description="share of the documents kept for validation")
    item_characters: int = Field(default=64_000_000, ge=1, description="characters of a work item")


class TaskSettings(Settings):
    """The labelled documents: one source that is split here, or one source for each split."""

    source: str | None = Field(default=None, description="one source, split by the hash of the text")
    train: str | None = Field(default=None, description="the training split, where there is an official one")
    valid: str | None = Field(default=None, description="the validation split; without it a share of train")
    test: str | None = Field(default=None, description="the test split")
    columns: SourceColumns = Field(default=SourceColumns(), description="where a table's label and text stand")
    valid_share: Share = Field(default=0.1, description="share for validation, where it is not a source of its own")
    test_share: Share = Field(default=0.1, description="share for the test, where there is only one source")
    item_characters: int = Field(default=64_000_000, ge=1, description="characters of a work item")

    @model_validator(mode="after")
    def _one_source_or_splits(self) -> TaskSettings:
        if (self.source is None) == (self.train is None):
            msg = "give either source, or train and test"
            raise ValueError(msg)
        if self.train is not None and self.test is None:
            msg = "a task with its own train split needs its own test split"
            raise ValueError(msg)
        return self

    def sources(self) -> dict[str, str]:
        """Return the source of each split; {"": source} for one that is split here."""
        if self.source is not None:
            return {"": self.source}
        given = {"train": self.train, "valid": self.valid, "test": self.test}
        return {split: path for split, path in given.items() if path is not None}


class TokenizerChoice(Settings):
    """A tokenizer recipe by name or file, and the settings of it that this run changes."""

    recipe: str
    change: dict[str, Any] = Field(default={}, description="e.g. { max_vocab = 8000 }")
    vocabulary: str = operational("", "file of tokens to keep with their ids: .json, or a token a line (words only)")

    def resolve(self) -> TokenizerRecipe:
        """Return the tokenizer recipe; RecipeError for an unknown name or setting."""
        return load_recipe(self.recipe, self.change)


class TokenizersSettings(Settings):
    """One tokenizer for each unit."""

    word: TokenizerChoice = TokenizerChoice(recipe="en/word_60k")
    subword: TokenizerChoice = TokenizerChoice(recipe="en/sp_30k")


class PretrainSection(Settings):
    """How language models are pretrained; their sizes stand in [model]."""

    drop_mult: float = Field(default=1.0, ge=0, description="multiplies every dropout of the model")
    training: LMTrainingSettings = PRETRAINING


class ResourceSettings(Settings):
    """How much of the machine a stage takes. Nothing here changes a result."""

    ingest_workers: int = operational(2, "actors that read text; a small source needs none")
    tokenizing_workers: int = operational(2, "actors that count and tokenize")
    pretrain_workers: int = operational(1, "DDP ranks of a pretraining")
    pretrain_min_workers: int = operational(0, "fewest ranks to go on with while nodes are missing; 0: all of them")
    pretrain_timeout_seconds: float = operational(300.0, "how long a rank waits for a silent one")
    pretrain_cpus_per_worker: float = operational(1.0, "CPUs that the ledger counts for a rank")
    pretrain_gpus_per_worker: float = operational(0.0, "GPUs of a rank; 0: train on the CPU")
    cache_dir: str = operational("", "folder on each node's disk for copies of the shards; empty: read them in place")
    cache_gb: float = operational(200.0, "what the copies of all runs on a node may take")
    task_cpus: float = operational(1.0, "CPUs of a fine-tuning or classifier stage")
    task_gpus: float = operational(0.0, "GPUs of a fine-tuning or classifier stage; 0: on the CPU")


class Recipe(Settings):
    """A whole run: text and task, tokenizers, members, and the settings of every stage."""

    version: Literal[1] = 1
    name: str = Field(default="unnamed", pattern=r"^[A-Za-z0-9._-]+$", description="names the run directory")
    seed: int = Field(default=1, ge=0, description="the seed of every stage that draws")
    units: list[Unit] = Field(default=["word", "subword"], min_length=1)
    directions: list[Direction] = Field(default=["forward", "backward"], min_length=1)
    corpus: CorpusSettings | None = None
    task: TaskSettings | None = None
    tokenizers: TokenizersSettings = TokenizersSettings()
    model: EncoderSettings = AWDLSTMSettings()
    pretrain: PretrainSection = PretrainSection()
    finetune: FinetuneLMSettings = FinetuneLMSettings()
    classifier: TrainClassifierSettings = TrainClassifierSettings()
    ensemble: EnsembleSettings = EnsembleSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    resources: ResourceSettings = ResourceSettings()


def load_run_recipe(path: Path | None, overrides: list[str]) -> Recipe:
    """Read a recipe (none: all defaults), apply overrides, make its source paths absolute, resolve tokenizers.

    A recipe that ships with the package may also be given by name: `quickstart`.

    Raises InputError or RecipeError naming the file, the key and the nearest known key.
    """
    path = _located(path) if path else None
    values = load_toml(path) if path else {}
    if path:
        _root_sources(values, path.resolve().parent)
    recipe = parse_settings(Recipe, apply_overrides(values, overrides), str(path or "the settings"))
    for unit in recipe.units:
        getattr(recipe.tokenizers, unit).resolve()
    return recipe


def _located(path: Path) -> Path:
    shipped = data_folder("launch") / f"{path}.toml"
    return shipped if not path.exists() and shipped.is_file() else path


def _root_sources(values: dict[str, Any], folder: Path) -> None:
    corpus, task = values.get("corpus"), values.get("task")
    if isinstance(corpus, dict) and isinstance(corpus.get("sources"), list):
        corpus["sources"] = [str(locate(source, folder)) for source in corpus["sources"]]
    if isinstance(task, dict):
        for key in ("source", "train", "valid", "test"):
            if isinstance(task.get(key), str):
                task[key] = str(locate(task[key], folder))
