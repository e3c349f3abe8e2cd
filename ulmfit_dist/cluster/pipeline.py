"""From a recipe to stages: which stages a run has, what each reads, and the settings each one gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ulmfit_dist.cluster.plan import Output, StageSpec
from ulmfit_dist.cluster.recipe import CorpusSettings, Direction, Recipe, TaskSettings, TokenizerChoice, Unit
from ulmfit_dist.cluster.settings import TokenizeSettings, TrainTokenizerSettings
from ulmfit_dist.corpus.bylanguage import ByLanguageSettings
from ulmfit_dist.corpus.leakage import LeakageSettings
from ulmfit_dist.corpus.mixing import MixSettings
from ulmfit_dist.crawl.language import iso_code
from ulmfit_dist.crawl.pieces import busy_workers
from ulmfit_dist.crawl.settings import IngestSettings, OfficialFolds, Source, source_inputs
from ulmfit_dist.finetune.classifier import UNLABELLED, ClassifierSection, TrainClassifierSettings
from ulmfit_dist.finetune.evaluate import BASELINE, LEAKAGE
from ulmfit_dist.finetune.labelled import TargetSettings
from ulmfit_dist.finetune.lm import FinetuneLMSettings
from ulmfit_dist.finetune.references import ReferenceSettings
from ulmfit_dist.finetune.search import SearchClassifierSettings
from ulmfit_dist.finetune.subsets import SubsetSettings
from ulmfit_dist.training.pretrain import PretrainSettings

INGEST_CORPUS, INGEST_TASK, INGEST_UNLABELLED = "ingest-corpus", "ingest-task", "ingest-unlabelled"
BY_LANGUAGE, MIX = "by-language", "mix-languages"
ENSEMBLE, EVALUATE = "ensemble", "evaluate"
TRAIN, VALID, TEST = "train", "valid", "test"
CORPUS = "corpus"


def stage_specs(recipe: Recipe) -> list[StageSpec]:
    """Return every stage of the recipe: text to tokenizers, streams, language models, and with a task to the table.

    Each comes after those that it reads.
    """
    workers = recipe.resources.ingest_workers
    specs = []
    if recipe.needs_corpus:
        assert recipe.corpus is not None, "checked by checked_specs"
        specs.append(_ingest_spec(INGEST_CORPUS, corpus_ingest(recipe.corpus), workers))
    if recipe.task is not None:
        specs.append(_ingest_spec(INGEST_TASK, task_ingest(recipe.task, recipe.classifier.targets), workers))
        if recipe.task.unlabelled:
            specs.append(_ingest_spec(INGEST_UNLABELLED, _unlabelled_ingest(recipe.task), workers))
    if recipe.language:
        specs += _language_specs(recipe)
    for unit in recipe.units:
        specs += _pretraining_specs(recipe, unit)
        if recipe.task is not None:
            for direction in recipe.directions:
                specs += _member_specs(recipe, f"{unit}-{direction}")
    if recipe.task is not None:
        specs += _ending_specs(recipe)
    return specs


def corpus_ingest(corpus: CorpusSettings) -> IngestSettings:
    """Return how the language models' text is read."""
    return IngestSettings(
        sources=[Source(path=path) for path in corpus.sources],
        columns=corpus.columns,
        languages=corpus.languages,
        splits={TRAIN: 1 - corpus.valid_share, VALID: corpus.valid_share},
        item_characters=corpus.item_characters,
        seed=corpus.seed,
        crawl=corpus.crawl,
        reuse=corpus.reuse,
    )


def task_ingest(task: TaskSettings, targets: TargetSettings) -> IngestSettings:
    """Return how the labelled documents are read; splits without a source of their own are cut by hash.

    Of official folds every document counts as it does in others' results, equal texts too.
    """
    valid, test, rotation, official = task.valid_share, task.test_share, 0.0, None
    if task.fold is not None:
        test, rotation = 1 / task.folds, task.fold / task.folds
        if task.has_official_folds:
            # Absolute: the stage may run in another folder than the command.
            file = str(Path(task.fold_file).absolute()) if task.fold_file else ""
            official = OfficialFolds(folds=task.folds, test=task.fold, file=file)
    if task.source:
        sources = [Source(path=task.source, duplicates="keep" if official else "auto")]
        splits = {TRAIN: 1 - valid - test, VALID: valid, TEST: test}
    elif task.valid:
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
        seed=task.seed,
        rotation=rotation,
        official=official,
        classes=targets.kind in ("auto", "multiclass", "ordinal") and not targets.separator,
    )


def pretrain_settings(recipe: Recipe, direction: Direction) -> PretrainSettings:
    """Return the settings of one pretraining."""
    resources = recipe.resources
    return PretrainSettings(
        direction=direction,
        language=recipe.language or _choice(recipe, recipe.units[0]).resolve().language,
        model=recipe.model,
        drop_mult=recipe.pretrain.drop_mult,
        training=recipe.pretrain.training,
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
    subset = labelled_subset(recipe.classifier) if recipe.finetune.labelled_only else recipe.finetune.subset
    return recipe.finetune.model_copy(update={"subset": subset})


def classifier_settings(recipe: Recipe) -> TrainClassifierSettings:
    """Return the settings of the training of a classifier."""
    resources = recipe.resources
    return TrainClassifierSettings(
        **dict(recipe.classifier),
        workers=resources.classifier_workers,
        cpus_per_worker=resources.task_cpus,
        gpus_per_worker=resources.task_gpus,
    )


def search_settings(recipe: Recipe) -> SearchClassifierSettings:
    """Return the settings of the search for a classifier's settings."""
    trained = dict(classifier_settings(recipe))
    return SearchClassifierSettings(**trained, search=recipe.search, concurrent=recipe.resources.search_concurrent)


def reference_settings(recipe: Recipe) -> ReferenceSettings:
    """Return how the baseline is made: it learns from the documents that the classifiers learn from."""
    subset = labelled_subset(recipe.classifier).model_copy(update={"targets": recipe.classifier.targets})
    return ReferenceSettings(**dict(recipe.baseline), subset=subset)


def labelled_subset(classifier: ClassifierSection) -> SubsetSettings:
    """Return which of the labelled documents a classifier learns from."""
    if not classifier.train_size:
        return SubsetSettings()
    return SubsetSettings(size=classifier.train_size, seed=classifier.training.seed, targets=classifier.targets)


def hand_ingest(recipe: Recipe, sources: Sequence[str], workers: int, *, labelled: bool) -> IngestSettings:
    """Return the ingest settings of a single command: the recipe's, with these sources (paths or URLs)."""
    paths = list(sources)
    if labelled:
        task = recipe.task or TaskSettings(source=paths[0], seed=recipe.seed)
        one = task.model_copy(update={"source": paths[0], TRAIN: "", VALID: "", TEST: ""})
        settings = task_ingest(one, recipe.classifier.targets)
        return settings.model_copy(update={"sources": [Source(path=path) for path in paths], "workers": workers})
    corpus = recipe.corpus or CorpusSettings(sources=paths, seed=recipe.seed)
    return corpus_ingest(corpus.model_copy(update={"sources": paths})).model_copy(update={"workers": workers})


def _unlabelled_ingest(task: TaskSettings) -> IngestSettings:
    return IngestSettings(
        sources=[Source(path=task.unlabelled)],
        columns=task.columns.model_copy(update={"fold": ""}),
        splits={UNLABELLED: 1.0},
        item_characters=task.item_characters,
    )


def _ingest_spec(name: str, settings: IngestSettings, workers: int) -> StageSpec:
    inputs = source_inputs(settings, Path())
    settings = settings.model_copy(update={"workers": workers})
    return StageSpec(name, "ingest", settings, inputs, cpus=busy_workers(inputs.values(), workers))


def _language_specs(recipe: Recipe) -> list[StageSpec]:
    assert recipe.languages is not None, "checked by the recipe"
    assert recipe.corpus is not None, "checked by check_sources"
    size = recipe.corpus.item_characters
    settings = ByLanguageSettings(item_characters=size)
    specs = [StageSpec(BY_LANGUAGE, BY_LANGUAGE, settings, {"documents": Output(INGEST_CORPUS)})]
    group = recipe.languages.shared.get(recipe.language)
    if group is not None:
        codes = [iso_code(code) for code in group.languages]
        mix = MixSettings(languages=codes, alpha=group.alpha, item_characters=size, seed=recipe.corpus.seed)
        specs.append(StageSpec(MIX, MIX, mix, {"documents": Output(BY_LANGUAGE)}))
    return specs


def _documents(recipe: Recipe) -> Output:
    """Return what tokenizers and language models learn from."""
    if recipe.languages is None or not recipe.language:
        return Output(INGEST_CORPUS)
    shared = recipe.language in recipe.languages.shared
    return Output(MIX) if shared else Output(BY_LANGUAGE, iso_code(recipe.language))


def _choice(recipe: Recipe, unit: Unit) -> TokenizerChoice:
    return recipe.tokenizers.word if unit == "word" else recipe.tokenizers.subword


def _tokenizing_specs(recipe: Recipe, unit: Unit) -> list[StageSpec]:
    workers = recipe.resources.tokenizing_workers
    choice, documents, tokenizer = _choice(recipe, unit), _documents(recipe), Output(f"tokenizer-{unit}")
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


def _pretraining_specs(recipe: Recipe, unit: Unit) -> list[StageSpec]:
    """Return what makes the language models of a unit; nothing where all of them are given."""
    directions = recipe.to_pretrain(unit)
    if not directions:
        return []
    specs = _tokenizing_specs(recipe, unit)
    tokens: Mapping[str, Output] = {"tokens": Output(f"tokenize-{unit}"), "tokenizer": Output(f"tokenizer-{unit}")}
    for direction in directions:
        settings = pretrain_settings(recipe, direction)
        # An elastic group can start with its fewest ranks; what it takes beyond them is between Ray and the others.
        ranks = settings.fewest_workers
        cpus, gpus = ranks * settings.cpus_per_worker, ranks * settings.gpus_per_worker
        specs.append(StageSpec(f"pretrain-{unit}-{direction}", "pretrain", settings, tokens, cpus, gpus))
    return specs


def _member_specs(recipe: Recipe, member: str) -> list[StageSpec]:
    """Return the fine-tuning of a member's language model, and its classifier."""
    task = {TRAIN: Output(INGEST_TASK, TRAIN), VALID: Output(INGEST_TASK, VALID)}
    given = recipe.pretrained.get(member)
    model = Path(given) if given else Output(f"pretrain-{member}", "model")
    rounds = {UNLABELLED: Output(INGEST_UNLABELLED, UNLABELLED)} if recipe.classifier.pseudo.rounds else {}
    held = _held(recipe)
    tune = {"model": model, **task, **_more_text(recipe)}
    train = {"model": Output(f"finetune-{member}", "model"), **task, **rounds}
    searched, resources = bool(recipe.search.trials), recipe.resources
    classifier = search_settings(recipe) if searched else classifier_settings(recipe)
    kind = "search-classifier" if searched else "train-classifier"
    at_once = resources.search_concurrent if searched else resources.classifier_workers
    cpus, gpus = (each * at_once for each in held.values())
    return [
        StageSpec(f"finetune-{member}", "finetune-lm", finetune_settings(recipe), tune, **held),
        StageSpec(f"classifier-{member}", kind, classifier, train, cpus, gpus),
    ]


def _held(recipe: Recipe) -> dict[str, float]:
    """Return what each stage of the task holds, prediction included: at full size it takes a CPU hours."""
    return {"cpus": recipe.resources.task_cpus, "gpus": recipe.resources.task_gpus}


def _more_text(recipe: Recipe) -> dict[str, Output]:
    """Return what language models are fine-tuned on beside the training split."""
    assert recipe.task is not None, "only a task is fine-tuned for"
    more = {}
    if recipe.task.unlabelled and not recipe.finetune.labelled_only:
        more[UNLABELLED] = Output(INGEST_UNLABELLED, UNLABELLED)
    if recipe.finetune.test_text:
        more[TEST] = Output(INGEST_TASK, TEST)
    return more


def _ending_specs(recipe: Recipe) -> list[StageSpec]:
    members = {
        f"member-{unit}-{direction}": Output(f"classifier-{unit}-{direction}", "model")
        for unit in recipe.units
        for direction in recipe.directions
    }
    task = {TRAIN: Output(INGEST_TASK, TRAIN), VALID: Output(INGEST_TASK, VALID)}
    # Everything that the models have read here, under the names that the report shows.
    read = {f"task {TRAIN}": task[TRAIN], f"task {VALID}": task[VALID]}
    if recipe.needs_corpus:
        read[CORPUS] = Output(INGEST_CORPUS, TRAIN)
    read |= {f"{CORPUS}-{name}": output for name, output in _more_text(recipe).items()}
    test, held, cpus = Output(INGEST_TASK, TEST), _held(recipe), recipe.resources.task_cpus
    made = {"ensemble": Output(ENSEMBLE, "ensemble"), BASELINE: Output(BASELINE), LEAKAGE: Output(LEAKAGE)}
    return [
        StageSpec(BASELINE, BASELINE, reference_settings(recipe), {**task, TEST: test}, cpus),
        StageSpec(LEAKAGE, LEAKAGE, LeakageSettings(), {**read, TEST: test}, cpus),
        StageSpec(ENSEMBLE, "ensemble", recipe.ensemble, {**members, VALID: task[VALID]}, **held),
        StageSpec(EVALUATE, "evaluate", recipe.evaluate, {**made, TEST: test}, **held),
    ]
