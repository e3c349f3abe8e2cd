"""From a recipe to stages: which stages a run has, what each reads, and the settings each one gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ulmfit_dist.cluster.plan import Output, StageSpec
from ulmfit_dist.cluster.recipe import CorpusSettings, Direction, Recipe, TaskSettings, Unit
from ulmfit_dist.cluster.tokenizing import TokenizeSettings, TrainTokenizerSettings
from ulmfit_dist.crawl.checks import check_inputs
from ulmfit_dist.crawl.pieces import busy_workers
from ulmfit_dist.crawl.settings import IngestSettings, Source, source_inputs
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.classifier import TrainClassifierSettings
from ulmfit_dist.finetune.lm import FinetuneLMSettings
from ulmfit_dist.training.pretrain import PretrainSettings

INGEST_CORPUS, INGEST_TASK, ENSEMBLE, EVALUATE = "ingest-corpus", "ingest-task", "ensemble", "evaluate"
TRAIN, VALID, TEST = "train", "valid", "test"


def stage_specs(recipe: Recipe) -> list[StageSpec]:
    """Return every stage of the recipe: text to tokenizers, streams, language models, and with a task to the table."""
    assert recipe.corpus is not None, "checked by check_sources"
    workers = recipe.resources.ingest_workers
    specs = [_ingest_spec(INGEST_CORPUS, corpus_ingest(recipe.corpus, recipe.seed), workers)]
    if recipe.task is not None:
        specs.append(_ingest_spec(INGEST_TASK, task_ingest(recipe.task, recipe.seed), workers))
    for unit in recipe.units:
        specs += _tokenizing_specs(recipe, unit)
        for direction in recipe.directions:
            specs += _member_specs(recipe, unit, direction)
    if recipe.task is not None:
        specs += _ending_specs(recipe)
    return specs


def check_sources(recipe: Recipe) -> None:
    """Read the first rows of every source, and the labels of labelled ones.

    Raises InputError for a recipe without text or a source that cannot be what the recipe says.
    """
    if recipe.corpus is None:
        raise InputError(f"recipe {recipe.name} has no text", do="add [corpus] with sources = [...]")
    for spec in stage_specs(recipe):
        if isinstance(spec.settings, IngestSettings):
            check_inputs(spec.settings, {})


def corpus_ingest(corpus: CorpusSettings, seed: int) -> IngestSettings:
    """Return how the language models' text is read."""
    return IngestSettings(
        sources=[Source(path=path) for path in corpus.sources],
        columns=corpus.columns,
        languages=corpus.languages,
        splits={TRAIN: 1 - corpus.valid_share, VALID: corpus.valid_share},
        item_characters=corpus.item_characters,
        seed=seed,
    )


def task_ingest(task: TaskSettings, seed: int) -> IngestSettings:
    """Return how the labelled documents are read; splits without a source of their own are cut by hash."""
    valid, test = task.valid_share, task.test_share
    if task.source is not None:
        sources, splits = [Source(path=task.source)], {TRAIN: 1 - valid - test, VALID: valid, TEST: test}
    elif task.valid is not None:
        sources, splits = [Source(path=path, split=name) for name, path in task.sources().items()], {TRAIN: 1.0}
    else:
        # The training source has no split of its own: it is cut into train and valid.
        named = [Source(path=path, split="" if name == TRAIN else name) for name, path in task.sources().items()]
        sources, splits = named, {TRAIN: 1 - valid, VALID: valid}
    return IngestSettings(
        sources=sources,
        columns=task.columns,
        labelled=True,
        splits=splits,
        item_characters=task.item_characters,
        seed=seed,
    )


def pretrain_settings(recipe: Recipe, direction: Direction) -> PretrainSettings:
    """Return the settings of one pretraining."""
    resources = recipe.resources
    return PretrainSettings(
        direction=direction,
        language=recipe.tokenizers.word.resolve().language,
        model=recipe.model,
        drop_mult=recipe.pretrain.drop_mult,
        training=recipe.pretrain.training.model_copy(update={"seed": recipe.seed}),
        workers=resources.pretrain_workers,
        min_workers=resources.pretrain_min_workers,
        group_timeout_seconds=resources.pretrain_timeout_seconds,
        cache_dir=resources.cache_dir,
        cache_gb=resources.cache_gb,
        cpus_per_worker=resources.pretrain_cpus_per_worker,
        gpus_per_worker=resources.pretrain_gpus_per_worker,
    )


def finetune_settings(recipe: Recipe) -> FinetuneLMSettings:
    """Return the settings of a fine-tuning of a language model."""
    training = recipe.finetune.training.model_copy(update={"seed": recipe.seed})
    return recipe.finetune.model_copy(update={"training": training})


def classifier_settings(recipe: Recipe) -> TrainClassifierSettings:
    """Return the settings of a classifier."""
    training = recipe.classifier.training.model_copy(update={"seed": recipe.seed})
    return recipe.classifier.model_copy(update={"training": training})


def hand_ingest(recipe: Recipe, sources: Sequence[str], workers: int, *, labelled: bool) -> IngestSettings:
    """Return the ingest settings of a single command: the recipe's, with these sources (paths or URLs)."""
    paths = list(sources)
    if labelled:
        task = recipe.task or TaskSettings(source=paths[0])
        settings = task_ingest(
            task.model_copy(update={"source": paths[0], TRAIN: None, VALID: None, TEST: None}), recipe.seed
        )
        return settings.model_copy(update={"sources": [Source(path=path) for path in paths], "workers": workers})
    corpus = recipe.corpus or CorpusSettings(sources=paths)
    return corpus_ingest(corpus.model_copy(update={"sources": paths}), recipe.seed).model_copy(
        update={"workers": workers}
    )


def _ingest_spec(name: str, settings: IngestSettings, workers: int) -> StageSpec:
    inputs = source_inputs(settings, Path())
    settings = settings.model_copy(update={"workers": workers})
    return StageSpec(name, "ingest", settings, inputs, cpus=busy_workers(inputs.values(), workers))


def _tokenizing_specs(recipe: Recipe, unit: Unit) -> list[StageSpec]:
    workers = recipe.resources.tokenizing_workers
    choice = recipe.tokenizers.word if unit == "word" else recipe.tokenizers.subword
    documents, tokenizer = Output(INGEST_CORPUS), Output(f"tokenizer-{unit}")
    train = TrainTokenizerSettings(recipe=choice.resolve(), workers=workers)
    learned_from: dict[str, Output | Path] = {"documents": documents}
    if choice.vocabulary:
        learned_from["vocabulary"] = Path(choice.vocabulary)
    return [
        StageSpec(tokenizer.stage, "train-tokenizer", train, learned_from, cpus=workers),
        StageSpec(
            f"tokenize-{unit}",
            "tokenize",
            TokenizeSettings(workers=workers),
            {"documents": documents, "tokenizer": tokenizer},
            cpus=workers,
        ),
    ]


def _member_specs(recipe: Recipe, unit: Unit, direction: Direction) -> list[StageSpec]:
    member = f"{unit}-{direction}"
    pretrain = pretrain_settings(recipe, direction)
    tokens: Mapping[str, Output] = {"tokens": Output(f"tokenize-{unit}"), "tokenizer": Output(f"tokenizer-{unit}")}
    # An elastic group can start with its fewest ranks; what it takes beyond them is between Ray and the others.
    ranks = pretrain.fewest_workers
    cpus, gpus = ranks * pretrain.cpus_per_worker, ranks * pretrain.gpus_per_worker
    specs = [StageSpec(f"pretrain-{member}", "pretrain", pretrain, tokens, cpus, gpus)]
    if recipe.task is None:
        return specs
    task = {TRAIN: Output(INGEST_TASK, TRAIN), VALID: Output(INGEST_TASK, VALID)}
    return [
        *specs,
        StageSpec(
            f"finetune-{member}",
            "finetune-lm",
            finetune_settings(recipe),
            {"model": Output(f"pretrain-{member}", "model"), **task},
            cpus=recipe.resources.task_cpus,
            gpus=recipe.resources.task_gpus,
        ),
        StageSpec(
            f"classifier-{member}",
            "train-classifier",
            classifier_settings(recipe),
            {"model": Output(f"finetune-{member}", "model"), **task},
            cpus=recipe.resources.task_cpus,
            gpus=recipe.resources.task_gpus,
        ),
    ]


def _ending_specs(recipe: Recipe) -> list[StageSpec]:
    members = {
        f"member-{unit}-{direction}": Output(f"classifier-{unit}-{direction}", "model")
        for unit in recipe.units
        for direction in recipe.directions
    }
    task = {TRAIN: Output(INGEST_TASK, TRAIN), VALID: Output(INGEST_TASK, VALID)}
    corpus = {"corpus": Output(INGEST_CORPUS, TRAIN)}
    return [
        StageSpec(ENSEMBLE, "ensemble", recipe.ensemble, {**members, VALID: task[VALID]}),
        StageSpec(
            EVALUATE,
            "evaluate",
            recipe.evaluate,
            {"ensemble": Output(ENSEMBLE, "ensemble"), TEST: Output(INGEST_TASK, TEST), **task, **corpus},
        ),
    ]
