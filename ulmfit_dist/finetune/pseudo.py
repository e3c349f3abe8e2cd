"""Pseudo-labels: unlabelled documents that the last round's classifier is sure of join the training of the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.finetune.metrics import Floats, Ints


class PseudoSettings(Settings):
    """How many rounds, and which documents are sure enough."""

    rounds: int = Field(default=0, ge=0, description="trainings after the first, each with the pseudo-labels before it")
    confidence: float = Field(default=0.95, gt=0, le=1, description="probability from which a label is taken")
    balance: bool = Field(default=True, description="take no more of a class, by its share, than of the rarest one")


@dataclass(frozen=True)
class PseudoLabels:
    """Which unlabelled documents were taken, in their order, and as which class: (n,) each."""

    documents: Ints
    classes: Ints


def choose_pseudo_labels(probabilities: Floats, shares: Floats, settings: PseudoSettings) -> PseudoLabels:
    """Return the documents (N, C) that are sure enough; `shares` (C,) are the classes' in the labelled training split.

    Without balance a classifier that prefers a class takes ever more of it from round to round. With it the classes
    keep the shares that they have where the labels are known, the surest documents of each being taken.
    """
    classes, confidence = probabilities.argmax(1), probabilities.max(1)
    sure = confidence >= settings.confidence
    if settings.balance:
        counts = np.bincount(classes[sure], minlength=len(shares))
        known = shares > 0
        total = (counts[known] / shares[known]).min()
        for name in np.flatnonzero(known):
            members = np.flatnonzero(sure & (classes == name))
            kept = members[np.argsort(-confidence[members], kind="stable")][: int(total * shares[name] + 0.5)]
            sure[np.setdiff1d(members, kept)] = False
    taken = np.flatnonzero(sure)
    return PseudoLabels(taken, classes[taken])
