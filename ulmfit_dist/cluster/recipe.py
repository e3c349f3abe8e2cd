"""The recipe of a run: one TOML file that says what to run. Its sections are the settings of the stages."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import Field, model_validator

from ulmfit_dist.cluster.languages import LanguagesSettings, with_places
from ulmfit_dist.cluster.recipefile import dotted, read_recipe_values
from ulmfit_dist.config import Settings, operational, parse_settings, with_setting
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.crawl.settings import CrawlSettings
from ulmfit_dist.finetune.baseline import BaselineSettings
from ulmfit_dist.finetune.classifier import ClassifierSection
from ulmfit_dist.finetune.ensemble import EnsembleSettings
from ulmfit_dist.finetune.evaluate import EvaluateSettings
from ulmfit_dist.finetune.lm import FinetuneLMSettings
from ulmfit_dist.finetune.search import SearchSettings
from ulmfit_dist.models.settings import AWDLSTMSettings, EncoderSettings
from ulmfit_dist.tokenization.recipe import TokenizerRecipe, load_recipe
from ulmfit_dist.training.lm import LMTrainingSettings
from ulmfit_dist.training.pretrain import PRETRAINING

Unit = Literal["word", "subword"]
Direction = Literal["forward", "backward"]
Member = Annotated[str, Field(pattern=r"^(word|subword)-(forward|backward)$")]
Share = Annotated[float, Field(ge=0, lt=1)]
# The sections whose stages draw; the first two need not be there.
_SEEDED = ("corpus", "task", "pretrain.training", "finetune.training", "classifier.training")
_OPTIONAL = _SEEDED[:2]


class CorpusSettings(Settings):
    """The raw text that the language models are pretrained on."""

    sources: list[str] = Field(min_length=1, description="files or folders, relative to the recipe, or URLs")
    columns: SourceColumns = Field(default=SourceColumns(), description="where a table's text stands")
    languages: list[str] = Field(default=[], description="languages of crawl documents that are kept; empty: all")
    crawl: CrawlSettings = Field(default=CrawlSettings(), description="how the pages of a crawl are cleaned")
    reuse: str = operational("", "folder that keeps what is read: other thresholds then read no source again")
    valid_share: Share = Field(default=0.05, description="share of the documents kept for validation")
    item_characters: int = Field(default=64_000_000, ge=1, description="characters of a work item")
    seed: int = Field(default=1, ge=0, description="of the cut into splits")


class TaskSettings(Settings):
    """The labelled documents: one source that is split here, or one source for each split. Empty: not given."""

    source: str = Field(default="", description="one source, split by the hash of the text")
    train: str = Field(default="", description="the training split, where there is an official one")
    valid: str = Field(default="", description="the validation split; without it a share of train")
    test: str = Field(default="", description="the test split")
    unlabelled: str = Field(default="", description="text of the task without labels, for language models and rounds")
    columns: SourceColumns = Field(default=SourceColumns(), description="where a table's label and text stand")
    valid_share: Share = Field(default=0.1, description="share for validation, where it is not a source of its own")
    test_share: Share = Field(default=0.1, description="share for the test, where there is only one source")
    folds: int = Field(default=0, ge=0, description="cross-validation of one source: so many parts, each tested once")
    fold: int | None = Field(default=None, ge=0, description="test this fold alone, from 0; without it every one")
    fold_file: str = Field(default="", description="official folds: a number from 0 for each record, one a line")
    item_characters: int = Field(default=64_000_000, ge=1, description="characters of a work item")
    seed: int = Field(default=1, ge=0, description="of the cut into splits or folds")

    @model_validator(mode="after")
    def _one_source_or_splits(self) -> Self:
        if bool(self.source) == bool(self.train):
            msg = "give either source, or train and test"
            raise ValueError(msg)
        if self.train and not self.test:
            msg = "a task with its own train split needs its own test split"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _folds_of_one_source(self) -> Self:
        if self.folds == 1 or (self.folds and not self.source):
            msg = f"folds = {self.folds}: cross-validation cuts one `source` into two folds or more"
            raise ValueError(msg)
        if self.fold is not None and self.fold >= self.folds:
            msg = f"fold = {self.fold} of {self.folds} folds: they are numbered from 0"
            raise ValueError(msg)
        if self.columns.fold and self.fold_file:
            msg = "official folds stand in columns.fold or in fold_file: give one of them"
            raise ValueError(msg)
        if self.has_official_folds and not self.folds:
            msg = "columns.fold and fold_file are the official folds of one `source`: say how many with folds"
            raise ValueError(msg)
        return self

    @property
    def has_official_folds(self) -> bool:
        """Whether a column or a file says which documents are tested together."""
        return bool(self.columns.fold or self.fold_file)

    def sources(self) -> dict[str, str]:
        """Return the source of each split; {"": source} for one that is split here."""
        if self.source:
            return {"": self.source}
        given = {"train": self.train, "valid": self.valid, "test": self.test}
        return {split: path for split, path in given.items() if path}


class TokenizerChoice(Settings):
    """A tokenizer recipe by name or file, and the settings of it that this run changes."""

    recipe: str
    change: dict[str, Any] = Field(default={}, description="e.g. { max_vocab = 8000 }")
    vocabulary: str = operational("", "file of tokens to keep with their ids: .json, or a token a line (words only)")

    def resolve(self) -> TokenizerRecipe:
        """Return the tokenizer recipe; RecipeError for an unknown name or setting."""
        if self.recipe.endswith(".toml"):
            return load_recipe(self.recipe, self.change)
        return _shipped(self.recipe, json.dumps(self.change, default=str))


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
    task_cpus: float = operational(1.0, "CPUs of a stage of the task: fine-tuning, classifier, ensemble, evaluation")
    task_gpus: float = operational(0.0, "GPUs of such a stage; 0: on the CPU")
    classifier_workers: int = operational(1, "DDP ranks of a classifier; each takes task_cpus and task_gpus")
    search_concurrent: int = operational(1, "trials of a search at a time; each takes task_cpus and task_gpus")
    scaling_seconds: float = operational(0.0, "how long an autoscaling cluster may take to bring GPUs; 0: has them all")


@cache
def _shipped(name: str, change: str) -> TokenizerRecipe:
    # A sweep asks for the same one a thousand times, at 5 ms each.
    return load_recipe(name, json.loads(change))


class Recipe(Settings):
    """A whole run: text and task, tokenizers, members, and the settings of every stage.

    With `grid` or `variants` it stands for several runs (cluster/grid.py), and is itself the one without them.
    """

    version: Literal[1] = 1
    name: str = Field(default="unnamed", pattern=r"^[A-Za-z0-9._-]+$", description="names the run directory")
    seed: int = Field(default=1, ge=0, description="the seed of every section that draws and has none of its own")
    units: list[Unit] = Field(default=["word", "subword"], min_length=1)
    directions: list[Direction] = Field(default=["forward", "backward"], min_length=1)
    corpus: CorpusSettings | None = None
    languages: LanguagesSettings | None = Field(default=None, description="many languages of one crawl, each a run")
    language: str = Field(default="", description="the one of them that this run models; set for each by itself")
    task: TaskSettings | None = None
    tokenizers: TokenizersSettings = TokenizersSettings()
    model: EncoderSettings = AWDLSTMSettings()
    pretrain: PretrainSection = PretrainSection()
    pretrained: dict[Member, Annotated[str, Field(min_length=1)]] = Field(
        default={}, description="folders of language models that members start from instead of being pretrained here"
    )
    finetune: FinetuneLMSettings = FinetuneLMSettings()
    classifier: ClassifierSection = ClassifierSection()
    search: SearchSettings = Field(default=SearchSettings(), description="for the classifiers' settings")
    ensemble: EnsembleSettings = EnsembleSettings()
    baseline: BaselineSettings = BaselineSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    resources: ResourceSettings = ResourceSettings()
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default={}, description="dotted settings and their values; every combination is a run"
    )
    variants: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")], dict[str, Any]] = Field(
        default={}, description="named sets of dotted settings, crossed with the grid"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "seed" not in values:
            return values
        given = dict(dotted(values))
        for section in _SEEDED:
            table = values.get(section.partition(".")[0], None if section in _OPTIONAL else {})
            if isinstance(table, dict) and f"{section}.seed" not in given:
                values = with_setting(values, f"{section}.seed", values["seed"])
        return values

    @model_validator(mode="before")
    @classmethod
    def _tokenizers_of_each_language(cls, values: Any) -> Any:
        several = isinstance(values, dict) and values.get("languages") is not None and not values.get("language")
        return with_places(values) if several else values

    @model_validator(mode="after")
    def _rounds_have_documents(self) -> Self:
        if self.task is not None and self.classifier.pseudo.rounds and not self.task.unlabelled:
            msg = "classifier.pseudo.rounds needs unlabelled documents: name them as task.unlabelled"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _ranks_have_documents_and_gpus(self) -> Self:
        ranks, gpus = self.resources.classifier_workers, self.resources.task_gpus
        size = self.classifier.training.batch_size
        if not 1 <= ranks <= size:
            msg = f"resources.classifier_workers = {ranks}: give 1 to {size}, the documents of a batch"
            raise ValueError(msg)
        if ranks > 1 and gpus != int(gpus):
            msg = f"resources.task_gpus = {gpus:g} for each of {ranks} classifier ranks: they cannot share a GPU"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _a_search_is_of_single_trainings(self) -> Self:
        if not self.search.trials:
            return self
        if self.resources.search_concurrent < 1:
            msg = f"resources.search_concurrent = {self.resources.search_concurrent}: give 1 or more"
            raise ValueError(msg)
        if self.resources.classifier_workers > 1 or self.classifier.pseudo.rounds:
            msg = "a trial of [search] is one rank without rounds: set classifier_workers = 1 and pseudo.rounds = 0"
            raise ValueError(msg)
        chosen = {"the grid": self.grid, **{f"variant {name}": one for name, one in self.variants.items()}}
        for where, settings in chosen.items():
            if twice := sorted(set(settings) & set(self.search.parameters)):
                msg = f"both [search] and {where} choose {', '.join(twice)}: take it out of one of them"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _pretrained_are_members_of_a_task(self) -> Self:
        if not self.pretrained:
            return self
        if self.task is None:
            msg = "[pretrained] models are fine-tuned for a task: give [task], or take them out"
            raise ValueError(msg)
        members = [f"{unit}-{direction}" for unit in self.units for direction in self.directions]
        if strange := sorted(set(self.pretrained) - set(members)):
            msg = f"[pretrained] names {', '.join(strange)}; the members of this recipe are {', '.join(members)}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _languages_have_no_task(self) -> Self:
        if self.languages is not None and self.task is not None:
            msg = "[languages] ends with language models; a task is of one language: give it a recipe of its own"
            raise ValueError(msg)
        if self.languages is not None and not self.languages.names():
            msg = "[languages] names none: give separate = [...] or [languages.shared.NAME]"
            raise ValueError(msg)
        if self.language and (self.languages is None or self.language not in self.languages.names()):
            msg = f"language = {self.language!r} is none of [languages]"
            raise ValueError(msg)
        return self

    def to_pretrain(self, unit: Unit) -> list[Direction]:
        """Return the directions in which language models of a unit are pretrained here."""
        return [direction for direction in self.directions if f"{unit}-{direction}" not in self.pretrained]

    @property
    def needs_corpus(self) -> bool:
        """Whether any member is pretrained here."""
        return any(self.to_pretrain(unit) for unit in self.units)

    def toml(self) -> bytes:
        """Return the resolved recipe as a file that means the same, also with another seed; paths are absolute."""
        values = self.model_dump(mode="json", exclude_none=True)
        for section in _SEEDED:
            *parents, last = section.split(".")
            table = values
            for parent in parents:
                table = table[parent]
            if last in table and table[last]["seed"] == self.seed:
                del table[last]["seed"]
        return tomli_w.dumps(values).encode()


def load_run_recipe(path: Path | None, overrides: list[str]) -> Recipe:
    """Read a recipe (none: all defaults) over its bases, apply overrides, resolve its tokenizers.

    Of one that stands for several runs this is the one without grid and variants. A recipe that ships with the package
    may also be given by name: `quickstart`.

    Raises InputError or RecipeError naming the file, the key and the nearest known key.
    """
    return parse_recipe(read_recipe_values(path, overrides), str(path or "the settings"))


def parse_recipe(values: dict[str, Any], where: str) -> Recipe:
    """Check a recipe's plain values and its tokenizers' recipes; RecipeError naming `where`."""
    recipe = parse_settings(Recipe, values, where)
    # Of many languages each run has its own.
    for unit in recipe.units if recipe.languages is None or recipe.language else ():
        getattr(recipe.tokenizers, unit).resolve()
    return recipe
