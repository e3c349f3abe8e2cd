"""The classifier stage on a cluster: a plain task for one rank, ranks that `fitting` starts for several."""

from __future__ import annotations

from ulmfit_dist.cluster.fitting import RankWork, fit
from ulmfit_dist.finetune import classifier
from ulmfit_dist.finetune.classifier import TrainClassifierSettings
from ulmfit_dist.stage import StageCall, Summary


def train_classifier(call: StageCall[TrainClassifierSettings]) -> Summary:
    """Stage: train one classifier on `settings.workers` ranks; writes what `finetune.classifier` says.

    One rank needs no launcher: starting one takes longer than a small classifier's training.
    Raises what that and `fit` raise.
    """
    return fit(_WORK, call) if call.settings.workers > 1 else classifier.train_classifier(call)


_WORK = RankWork("training a classifier", TrainClassifierSettings, classifier.train_as_rank, "train-classifier")
