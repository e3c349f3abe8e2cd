"""Labelled documents as the classifier stages read them, with the checks that a user's labels need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ulmfit_dist.corpus.documents import Document, read_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.metrics import Ints


@dataclass(frozen=True, slots=True)
class LabelledDocuments:
    """Documents with the index of each one's label in `labels`: `targets` is (N,) int64."""

    documents: list[Document]
    labels: tuple[str, ...]
    targets: Ints

    @property
    def ids(self) -> tuple[str, ...]:
        """The documents' ids."""
        return tuple(document.id for document in self.documents)

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        return [document.text for document in self.documents]

    @property
    def names(self) -> list[str]:
        """The label name of each document."""
        return [self.labels[target] for target in self.targets]


def read_training_documents(folder: Path) -> LabelledDocuments:
    """Read a labelled training split; its labels, sorted, are the classes.

    Raises InputError when it is empty, a document has no label, or there is only one label.
    """
    documents = _read(folder)
    labels = sorted({document.label for document in documents if document.label is not None})
    if len(labels) < 2:
        raise InputError(
            f"a classifier needs at least two labels in {folder}",
            found=f"only {labels[0]!r}",
            do="give training documents of every class",
        )
    return _with_targets(documents, labels)


def read_labelled_documents(folder: Path, labels: Sequence[str]) -> LabelledDocuments:
    """Read a labelled split whose labels must be among `labels`, the classes of the training split.

    Raises InputError when it is empty, a document has no label, or a label was not seen in training.
    """
    documents = _read(folder)
    unseen = sorted({str(document.label) for document in documents} - set(labels))
    if unseen:
        count = sum(document.label in unseen for document in documents)
        names, known = ", ".join(map(repr, unseen[:5])), ", ".join(map(repr, labels))
        raise InputError(
            f"{folder} has labels that the classifier was not trained on",
            found=f"{names} on {count} documents; trained on: {known}",
            do="correct the labels, or train with documents of these classes",
        )
    return _with_targets(documents, labels)


def _read(folder: Path) -> list[Document]:
    documents = list(read_documents(folder))
    if not documents:
        raise InputError(f"{folder} holds no documents", do="check the split's source and the ingest's decisions")
    unlabelled = [document.id for document in documents if document.label is None]
    if unlabelled:
        raise InputError(
            f"{folder} has documents without a label",
            found=f"{len(unlabelled)} of {len(documents)}, the first is {unlabelled[0]}",
            do="ingest with labelled = true, or name the label column",
        )
    return documents


def _with_targets(documents: list[Document], labels: Sequence[str]) -> LabelledDocuments:
    index = {label: i for i, label in enumerate(labels)}
    targets = np.array([index[str(document.label)] for document in documents], dtype=np.int64)
    return LabelledDocuments(documents, tuple(labels), targets)
