"""What a stage will cost, before it runs: tokens, seconds, memory. Rough, and shown as such; what is done is exact.

The trainer's start was measured; the other constants are round guesses that a test holds within a factor of three of
the measured quickstart (two cores of a Xeon). The GPU's is a peer benchmark's, not checked against our own training.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from statistics import fmean

from ulmfit_dist.cluster.pipeline import BY_LANGUAGE, MIX
from ulmfit_dist.cluster.plan import Output, Plan, PlannedStage
from ulmfit_dist.cluster.settings import TrainTokenizerSettings
from ulmfit_dist.corpus.compression import COMPRESSION_SUFFIXES
from ulmfit_dist.corpus.documents import DocumentsManifest, read_manifest
from ulmfit_dist.corpus.locations import Location, files_in, size_of
from ulmfit_dist.corpus.mixing import MixSettings
from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.corpus.sources import read_source
from ulmfit_dist.crawl.settings import IngestSettings, source_locations
from ulmfit_dist.files import read_json
from ulmfit_dist.finetune.classifier import TrainClassifierSettings
from ulmfit_dist.finetune.ensemble import MEMBER_PREFIX
from ulmfit_dist.finetune.lm import FinetuneLMSettings
from ulmfit_dist.modelfolder.config import read_config
from ulmfit_dist.stage import RECORD_NAME
from ulmfit_dist.training.pretrain import PretrainSettings

_COMPRESSION = 2.6  # of English text by gzip
_CHARACTERS_PER_TOKEN = {"word": 5.0, "subword": 4.0}  # 30k English pieces; smaller vocabularies need more tokens
_INGEST_CHARACTERS_PER_S = 1.5e6
_TOKENIZE_CHARACTERS_PER_S = 1.0e6  # spaCy's own speed, one core
_SORT_CHARACTERS_PER_S = 7e7  # of 15 languages, one core
_FLOPS_PER_CORE = 25e9  # float32, matrices of quickstart size
_FLOPS_PER_GPU = 60e12  # bf16, 1.0 M tokens/s of 44 M parameters (peer benchmark, H100)
_TRAINER_START_S = 18.0  # TorchTrainer until the loop's first line, two workers on two cores
_TASK_START_S = 4.0  # a new process that imports torch
_PROCESS_MB = 450.0  # torch and Ray in one process
_TRAINER_MB = 900.0  # what a TorchTrainer fit brings beside its ranks: its own task, a controller, three watchers
_BYTES_PER_WEIGHT = 20.0  # weight, gradient, two moments, and one more in flight
_FIRST_DOCUMENTS = 200
_UNFREEZING_EPOCHS = 2  # of the default schedule, before the last stage


@dataclass(frozen=True)
class _Model:
    """A language model: weights of its layers and of its embedding, and characters of a token."""

    layers: float
    embedding: float
    characters: float


@dataclass(frozen=True)
class Estimate:
    """Tokens that pass through the stage (0: none to speak of), wall seconds, and peak memory of its processes."""

    tokens: float
    seconds: float
    memory_mb: float


def estimates(plan: Plan) -> dict[str, Estimate]:
    """Return what each stage will cost, or did cost if it is done (memory stays a guess)."""
    guesser = _Guesser(plan)
    found = {}
    for stage in plan.stages.values():
        guess = guesser.guess(stage)
        if stage.done():
            guess = Estimate(guess.tokens, float(read_json(stage.folder / RECORD_NAME)["seconds"]), guess.memory_mb)
        found[stage.name] = guess
    return found


class _Guesser:
    """Guesses a stage's cost from its settings and from what stands upstream of it in the plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._characters: dict[str, float] = {}
        self._document: dict[str, float] = {}

    def guess(self, stage: PlannedStage) -> Estimate:
        """Return the cost, done or not."""
        settings = stage.spec.settings
        if isinstance(settings, IngestSettings):
            return Estimate(0, _TASK_START_S + self._of_ingest(stage) / _INGEST_CHARACTERS_PER_S, 200)
        if isinstance(settings, PretrainSettings):
            return self._pretraining(stage, settings)
        if isinstance(settings, FinetuneLMSettings):
            epochs = settings.training.epochs + settings.training.frozen_epochs
            return self._task_training(stage, epochs, head=False)
        if isinstance(settings, TrainClassifierSettings):
            rounds = 1 + settings.pseudo.rounds
            alone = self._task_training(stage, (settings.epochs + _UNFREEZING_EPOCHS) * rounds, head=True)
            return alone if settings.workers == 1 else _on_ranks(alone, settings.workers)
        if "documents" in stage.spec.inputs:
            return self._reading(stage)
        return self._prediction(stage)

    def _reading(self, stage: PlannedStage) -> Estimate:
        characters = self._read_by(stage, "documents")
        if stage.spec.kind in (BY_LANGUAGE, MIX):
            return Estimate(0, _TASK_START_S + characters / _SORT_CHARACTERS_PER_S, 1000)
        seconds = _TASK_START_S + characters / _TOKENIZE_CHARACTERS_PER_S / stage.spec.cpus
        return Estimate(characters / self._characters_per_token(stage), seconds, 250 * stage.spec.cpus)

    def _pretraining(self, stage: PlannedStage, settings: PretrainSettings) -> Estimate:
        model = self._model_of(stage)
        tokens = self._read_by(stage, "tokens") / model.characters
        weights = model.layers + model.embedding
        gpu, epochs = settings.gpus_per_worker > 0, settings.training.epochs
        rate = _FLOPS_PER_GPU if gpu else _FLOPS_PER_CORE * min(1.0, settings.cpus_per_worker)
        seconds = _TRAINER_START_S + 6 * weights * tokens * epochs / (rate * settings.workers)
        memory = _TRAINER_MB + settings.workers * (_PROCESS_MB + weights * _BYTES_PER_WEIGHT / 1e6)
        return Estimate(tokens * epochs, seconds, memory)

    def _task_training(self, stage: PlannedStage, epochs: int, *, head: bool) -> Estimate:
        model = self._model_of(stage)
        more = self._read_by(stage, "unlabelled") if "unlabelled" in stage.spec.inputs else 0.0
        tokens = (self._learned_from(stage) + more) / model.characters
        weights = model.layers + (0 if head else model.embedding)
        rate = _FLOPS_PER_GPU if stage.spec.gpus else _FLOPS_PER_CORE
        seconds = _TASK_START_S + 6 * weights * tokens * epochs / rate
        return Estimate(tokens * epochs, seconds, _PROCESS_MB + weights * _BYTES_PER_WEIGHT / 1e6)

    def _learned_from(self, stage: PlannedStage) -> float:
        """Return the characters of the training documents that a stage takes: all of them, or so many."""
        settings = stage.spec.settings
        size = settings.subset.size if isinstance(settings, FinetuneLMSettings) else 0
        size = settings.train_size if isinstance(settings, TrainClassifierSettings) else size
        everything = self._read_by(stage, "train")
        return min(everything, size * self._of_a_document(self._made_by(stage, "train"))) if size else everything

    def _prediction(self, stage: PlannedStage) -> Estimate:
        """The cost of an ensemble or an evaluation: its members read the split that it is for."""
        split = next((name for name in ("test", "valid") if name in stage.spec.inputs), None)
        if split is None:
            return Estimate(0, _TASK_START_S, _PROCESS_MB)
        tokens = seconds = 0.0
        rate = _FLOPS_PER_GPU if stage.spec.gpus else _FLOPS_PER_CORE
        for member in self._members(stage):
            model = self._model_of(member)
            read = self._read_by(stage, split) / model.characters
            tokens += read
            seconds += 2 * model.layers * read / rate
        return Estimate(tokens, _TASK_START_S + seconds, _PROCESS_MB)

    def _members(self, stage: PlannedStage) -> list[PlannedStage]:
        if "ensemble" in stage.spec.inputs:
            stage = self._made_by(stage, "ensemble")
        return [self._made_by(stage, name) for name in stage.spec.inputs if name.startswith(MEMBER_PREFIX)]

    def _made_by(self, stage: PlannedStage, name: str) -> PlannedStage:
        source = stage.spec.inputs[name]
        assert isinstance(source, Output), "a source is no stage"
        return self._plan.stages[source.stage]

    def _model_of(self, stage: PlannedStage) -> _Model:
        """Return the language model that a stage trains on: one that is pretrained in this plan, or a given folder."""
        while "model" in stage.spec.inputs:
            source = stage.spec.inputs["model"]
            if not isinstance(source, Output):
                config = read_config(stage.inputs["model"], "language_model")
                embedding = float(config.vocab_size * config.architecture.embedding_size)
                return _Model(config.architecture.layer_weights(), embedding, _CHARACTERS_PER_TOKEN[config.unit])
            stage = self._plan.stages[source.stage]
        settings, recipe = stage.spec.settings, self._tokenizer_of(stage).recipe
        assert isinstance(settings, PretrainSettings), "a model that is not given is pretrained"
        size = recipe.max_vocab if recipe.unit == "word" else recipe.vocab_size
        embedding = float(size * settings.model.embedding_size)
        return _Model(settings.model.layer_weights(), embedding, _CHARACTERS_PER_TOKEN[recipe.unit])

    def _tokenizer_of(self, stage: PlannedStage) -> TrainTokenizerSettings:
        if "tokenizer" in stage.spec.inputs:
            stage = self._made_by(stage, "tokenizer")
        assert isinstance(stage.spec.settings, TrainTokenizerSettings), "tokens come from a tokenizer"
        return stage.spec.settings

    def _characters_per_token(self, stage: PlannedStage) -> float:
        return _CHARACTERS_PER_TOKEN[self._tokenizer_of(stage).recipe.unit]

    def _read_by(self, stage: PlannedStage, name: str) -> float:
        """Return the characters of an input: a whole ingest, or its share of a split."""
        source = stage.spec.inputs[name]
        assert isinstance(source, Output), "a source is read by its ingest alone"
        made = self._plan.stages[source.stage]
        if name == "tokens":
            return self._read_by(made, "documents")
        if made.spec.kind in (BY_LANGUAGE, MIX):
            return self._of_languages(made, source.path)
        settings = made.spec.settings
        assert isinstance(settings, IngestSettings), "documents come from an ingest"
        share = 1.0 if any(one.split for one in settings.sources) else settings.splits.get(source.path, 1.0)
        return self._of_ingest(made) * share

    def _of_languages(self, stage: PlannedStage, language: str) -> float:
        """Characters of a language or a mix: exact once they are sorted, else an equal share of all."""
        if stage.done():
            summary = read_json(stage.folder / RECORD_NAME)["summary"]
            splits = summary["splits"] if stage.spec.kind == MIX else summary["languages"].get(language, {})
            return float(sum(counts["characters"] for counts in splits.values()))
        mixed = stage.spec.settings
        several = len(mixed.languages) if isinstance(mixed, MixSettings) else 1
        by_language = self._made_by(stage, "documents") if stage.spec.kind == MIX else stage
        readers = [source for one in self._plan.stages.values() for source in one.spec.inputs.values()]
        found = {source.path for source in readers if isinstance(source, Output) and source.stage == by_language.name}
        return several * self._read_by(by_language, "documents") / max(1, len(found - {""}))

    def _of_a_document(self, stage: PlannedStage) -> float:
        """Characters of a document of an ingest: the mean of all once it is done, else that of the first ones."""
        settings = stage.spec.settings
        assert isinstance(settings, IngestSettings), "labelled documents come from an ingest"
        if stage.name not in self._document:
            if stage.done():
                kept = sum(manifest.kept for manifest in _manifests(stage))
                self._document[stage.name] = self._of_ingest(stage) / max(1, kept)
            else:
                documents = read_source(source_locations(settings, {})[0], settings.columns, Tally())
                self._document[stage.name] = fmean(len(one.text) for one in islice(documents, _FIRST_DOCUMENTS))
        return self._document[stage.name]

    def _of_ingest(self, stage: PlannedStage) -> float:
        """Characters of an ingest: exact once it is done, else guessed from the sources' bytes."""
        if stage.name not in self._characters:
            if stage.done():
                found = float(sum(manifest.characters for manifest in _manifests(stage)))
            else:
                found = sum(_plain_bytes(location) for location in stage.sources)
            self._characters[stage.name] = found
        return self._characters[stage.name]


def _on_ranks(alone: Estimate, ranks: int) -> Estimate:
    return Estimate(alone.tokens, _TRAINER_START_S + alone.seconds / ranks, _TRAINER_MB + ranks * alone.memory_mb)


def _manifests(ingest: PlannedStage) -> list[DocumentsManifest]:
    return [read_manifest(folder) for folder in ingest.folder.iterdir() if folder.is_dir()]


def _plain_bytes(location: Location) -> float:
    files = [file for _, file in files_in(location)] if location.is_dir() else [location]
    return sum(
        float(size_of(file)) * (_COMPRESSION if file.name.endswith(COMPRESSION_SUFFIXES) else 1.0) for file in files
    )
