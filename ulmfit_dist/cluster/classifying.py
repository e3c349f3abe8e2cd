"""The classifier stage on a cluster: a plain task for one rank, ranks that `fitting` starts for several."""

from __future__ import annotations

from ulmfit_dist.cluster.fitting import RankWork, fit
from ulmfit_dist.files import read_json, write_json
from ulmfit_dist.finetune import classifier
from ulmfit_dist.finetune.classifier import TrainClassifierSettings
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.training.group import Group
from ulmfit_dist.training.pretrain import RESULT_NAME


def train_classifier(call: StageCall[TrainClassifierSettings]) -> Summary:
    """Stage: train one classifier on `settings.workers` ranks; writes what `finetune.classifier` says.

    One rank needs no launcher: starting one takes longer than a small classifier's training.
    Raises what that and `fit` raise.
    """
    return fit(_WORK, call) if call.settings.workers > 1 else classifier.train_classifier(call)


def _as_rank(call: StageCall[TrainClassifierSettings], group: Group) -> Summary:
    result = call.out / RESULT_NAME
    if result.is_file():
        return dict(read_json(result))
    group.wait_at_most(call.settings.group_timeout_seconds)
    summary = classifier.train_classifier(call)
    if group.rank == 0:
        write_json(result, summary)
    group.barrier()
    return summary


_WORK = RankWork("training a classifier", TrainClassifierSettings, _as_rank, "resources.classifier_workers")
