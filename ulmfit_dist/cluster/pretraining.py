"""The pretraining stage on a cluster: the training loop of training/ on the ranks that `fitting` starts."""

from __future__ import annotations

from ulmfit_dist.cluster.fitting import RankWork, fit
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.training.pretrain import PretrainSettings, run_pretraining

_WORK = RankWork("pretraining", PretrainSettings, run_pretraining, "pretrain")


def pretrain(call: StageCall[PretrainSettings]) -> Summary:
    """Stage: pretrain one language model on `settings.workers` DDP ranks; writes model/ and curves.json.

    Raises what `fit` raises.
    """
    return fit(_WORK, call)
