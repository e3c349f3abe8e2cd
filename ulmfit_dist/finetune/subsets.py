"""Parts of a labelled training set: so many documents for low-shot curves, and folds for cross-validation."""

from __future__ import annotations

import numpy as np

from ulmfit_dist.corpus.lanes import epoch_order
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.labelled import LabelledDocuments
from ulmfit_dist.finetune.metrics import Ints

_FOLD_EPOCH = -1  # an epoch number that no epoch has gives folds an order of their own


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


def folds(documents: LabelledDocuments, num_folds: int, seed: int) -> list[Ints]:
    """Return the documents of each fold, every document in one, each class spread as evenly as can be.

    Raises InputError when a fold would be empty.
    """
    if not 2 <= num_folds <= len(documents.documents):
        found = f"{num_folds} folds of {len(documents.documents)} documents"
        raise InputError("cross-validation needs two folds or more, none of them empty", found=found, do="change it")
    classes = _classes(documents)
    order = epoch_order(len(classes), seed, _FOLD_EPOCH)
    grouped = order[np.argsort(classes[order], kind="stable")]
    return [np.sort(grouped[fold::num_folds]) for fold in range(num_folds)]


def _classes(documents: LabelledDocuments) -> Ints:
    if documents.kind in ("multiclass", "ordinal"):
        return documents.targets
    # Values and sets of labels have no classes to keep the shares of.
    return np.zeros(len(documents.documents), np.int64)


def _by_share(classes: Ints, seed: int) -> Ints:
    """All documents such that any beginning has the classes' shares; the first of each class come first."""
    order = epoch_order(len(classes), seed, _FOLD_EPOCH)
    place = np.empty(len(classes))
    for name in np.unique(classes):
        members = order[classes[order] == name]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
        place[members[0]] = -1
    return order[np.argsort(place[order], kind="stable")]
