"""A part of a labelled training set, for low-shot curves: the same one for language model, classifier and baseline."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.lanes import epoch_order
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.labelled import LabelledDocuments, TargetSettings
from ulmfit_dist.finetune.metrics import Ints

_SUBSET_EPOCH = -1  # an epoch number that no epoch has gives subsets an order of their own


class SubsetSettings(Settings):
    """Which of the labelled training documents are used."""

    size: int = Field(default=0, ge=0, description="so many; 0: all")
    seed: int = Field(default=1, ge=0, description="which ones: those of a classifier with this train_size and seed")
    targets: TargetSettings = Field(default=TargetSettings(), description="what the labels are")


def smaller_part(documents: LabelledDocuments, size: int, seed: int) -> LabelledDocuments:
    """Return `size` documents, in the file's order, each class with about its share and at least one document.

    For one seed a smaller part lies within every larger one. Raises InputError when there are not so many documents,
    or fewer are asked for than there are classes.
    """
    count, classes = len(documents.documents), _classes(documents)
    if not len(np.unique(classes)) <= size <= count:
        raise InputError(
            "the training split cannot be cut to this size",
            found=f"train_size = {size}; {count} documents of {len(np.unique(classes))} classes",
            do="give a number from the classes to the documents",
        )
    return documents.part(np.sort(_by_share(classes, seed)[:size]))


def _classes(documents: LabelledDocuments) -> Ints:
    if documents.kind in ("multiclass", "ordinal"):
        return documents.targets
    # Values and sets of labels have no classes to keep the shares of.
    return np.zeros(len(documents.documents), np.int64)


def _by_share(classes: Ints, seed: int) -> Ints:
    """All documents such that any beginning has the classes' shares; the first of each class come first."""
    order = epoch_order(len(classes), seed, _SUBSET_EPOCH)
    place = np.empty(len(classes))
    for name in np.unique(classes):
        members = order[classes[order] == name]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
        place[members[0]] = -1
    return order[np.argsort(place[order], kind="stable")]
