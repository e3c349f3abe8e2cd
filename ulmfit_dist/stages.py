"""The table of stage kinds. Raise a version when a stage's code starts to give other results for equal input.

A stage's code is imported when the stage runs: torch, Ray Train and spaCy take seconds to load, and a command, or the
process of one stage on a cluster, needs its own stage only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ulmfit_dist.stage import StageCall, StageKind, Summary

if TYPE_CHECKING:
    from ulmfit_dist.cluster.settings import TokenizeSettings, TrainTokenizerSettings
    from ulmfit_dist.config import Settings
    from ulmfit_dist.corpus.bylanguage import ByLanguageSettings
    from ulmfit_dist.corpus.leakage import LeakageSettings
    from ulmfit_dist.corpus.mixing import MixSettings
    from ulmfit_dist.crawl.settings import IngestSettings
    from ulmfit_dist.finetune.classifier import TrainClassifierSettings
    from ulmfit_dist.finetune.compare import CompareSettings
    from ulmfit_dist.finetune.ensemble import EnsembleSettings
    from ulmfit_dist.finetune.evaluate import EvaluateSettings
    from ulmfit_dist.finetune.lm import FinetuneLMSettings
    from ulmfit_dist.finetune.rates import LRFindSettings
    from ulmfit_dist.finetune.references import ReferenceSettings
    from ulmfit_dist.finetune.search import SearchClassifierSettings
    from ulmfit_dist.training.pretrain import PretrainSettings


def _ingest(call: StageCall[IngestSettings]) -> Summary:
    from ulmfit_dist.cluster.ingesting import ingest_on_pool

    return ingest_on_pool(call)


def _sort_by_language(call: StageCall[ByLanguageSettings]) -> Summary:
    from ulmfit_dist.corpus.bylanguage import sort_by_language

    return sort_by_language(call)


def _mix_languages(call: StageCall[MixSettings]) -> Summary:
    from ulmfit_dist.corpus.mixing import mix_languages

    return mix_languages(call)


def _train_tokenizer(call: StageCall[TrainTokenizerSettings]) -> Summary:
    from ulmfit_dist.cluster.tokenizing import train_tokenizer

    return train_tokenizer(call)


def _tokenize(call: StageCall[TokenizeSettings]) -> Summary:
    from ulmfit_dist.cluster.tokenizing import tokenize

    return tokenize(call)


def _pretrain(call: StageCall[PretrainSettings]) -> Summary:
    from ulmfit_dist.cluster.pretraining import pretrain

    return pretrain(call)


def _finetune_lm(call: StageCall[FinetuneLMSettings]) -> Summary:
    from ulmfit_dist.finetune.lm import finetune_lm

    return finetune_lm(call)


def _lr_find(call: StageCall[LRFindSettings]) -> Summary:
    from ulmfit_dist.finetune.rates import find_rate

    return find_rate(call)


def _train_classifier(call: StageCall[TrainClassifierSettings]) -> Summary:
    from ulmfit_dist.cluster.classifying import train_classifier

    return train_classifier(call)


def _search_classifier(call: StageCall[SearchClassifierSettings]) -> Summary:
    from ulmfit_dist.cluster.searching import search_classifier

    return search_classifier(call)


def _ensemble(call: StageCall[EnsembleSettings]) -> Summary:
    from ulmfit_dist.finetune.ensemble import make_ensemble

    return make_ensemble(call)


def _baseline(call: StageCall[ReferenceSettings]) -> Summary:
    from ulmfit_dist.finetune.references import make_references

    return make_references(call)


def _leakage(call: StageCall[LeakageSettings]) -> Summary:
    from ulmfit_dist.corpus.leakage import search_leaks

    return search_leaks(call)


def _evaluate(call: StageCall[EvaluateSettings]) -> Summary:
    from ulmfit_dist.finetune.evaluate import evaluate

    return evaluate(call)


def _compare(call: StageCall[CompareSettings]) -> Summary:
    from ulmfit_dist.finetune.compare import compare_runs

    return compare_runs(call)


def _always(_: Settings) -> bool:
    return True


def _of_several_ranks(settings: TrainClassifierSettings) -> bool:
    return settings.workers > 1


_KINDS: tuple[StageKind[Any], ...] = (
    StageKind("ingest", 7, _ingest, resumable=True, own_workers=_always),
    StageKind("by-language", 2, _sort_by_language, resumable=True),
    StageKind("mix-languages", 1, _mix_languages),
    StageKind("train-tokenizer", 2, _train_tokenizer, resumable=True, own_workers=_always),
    StageKind("tokenize", 2, _tokenize, resumable=True, own_workers=_always),
    StageKind("pretrain", 2, _pretrain, resumable=True, own_workers=_always),
    StageKind("finetune-lm", 3, _finetune_lm, resumable=True),
    StageKind("lr-find", 1, _lr_find),
    StageKind("train-classifier", 3, _train_classifier, resumable=True, own_workers=_of_several_ranks),
    # Its trials train as train-classifier does: raise both.
    StageKind("search-classifier", 1, _search_classifier, resumable=True, own_workers=_always),
    StageKind("ensemble", 2, _ensemble),
    StageKind("baseline", 1, _baseline),
    StageKind("leakage", 1, _leakage),
    StageKind("evaluate", 4, _evaluate),
    StageKind("compare", 1, _compare),
)

STAGES: dict[str, StageKind[Any]] = {kind.name: kind for kind in _KINDS}
