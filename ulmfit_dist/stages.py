"""The table of stage kinds. Raise a version when a stage's code starts to give other results for equal input."""

from __future__ import annotations

from typing import Any

from ulmfit_dist.cluster.ingesting import ingest_on_pool
from ulmfit_dist.cluster.pretraining import pretrain
from ulmfit_dist.cluster.tokenizing import TokenizeSettings, TrainTokenizerSettings, tokenize, train_tokenizer
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.finetune.classifier import TrainClassifierSettings, train_classifier
from ulmfit_dist.finetune.ensemble import EnsembleSettings, make_ensemble
from ulmfit_dist.finetune.evaluate import EvaluateSettings, evaluate
from ulmfit_dist.finetune.lm import FinetuneLMSettings, finetune_lm
from ulmfit_dist.stage import StageKind
from ulmfit_dist.training.pretrain import PretrainSettings

_KINDS: tuple[StageKind[Any], ...] = (
    StageKind("ingest", 2, IngestSettings, ingest_on_pool, resumable=True, own_workers=True),
    StageKind("train-tokenizer", 2, TrainTokenizerSettings, train_tokenizer, resumable=True, own_workers=True),
    StageKind("tokenize", 2, TokenizeSettings, tokenize, resumable=True, own_workers=True),
    StageKind("pretrain", 1, PretrainSettings, pretrain, resumable=True, own_workers=True),
    StageKind("finetune-lm", 2, FinetuneLMSettings, finetune_lm, resumable=True),
    StageKind("train-classifier", 1, TrainClassifierSettings, train_classifier, resumable=True),
    StageKind("ensemble", 1, EnsembleSettings, make_ensemble),
    StageKind("evaluate", 1, EvaluateSettings, evaluate),
)

STAGES: dict[str, StageKind[Any]] = {kind.name: kind for kind in _KINDS}
