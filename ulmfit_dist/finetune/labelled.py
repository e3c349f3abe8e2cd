"""Labelled documents as the classifier stages read them, with the checks that a user's labels need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import Document, read_documents, read_manifest
from ulmfit_dist.corpus.records import split_labels
from ulmfit_dist.errors import InputError
from ulmfit_dist.finetune.metrics import Ints, Targets
from ulmfit_dist.models.targets import TargetConfig, TargetKind

_YES, _NO = frozenset(("1", "true", "yes", "1.0")), frozenset(("0", "false", "no", "", "0.0"))
_SHOWN = 5


class TargetSettings(Settings):
    """What the labels of the training documents are."""

    kind: Literal["auto", "multiclass", "multilabel", "ordinal", "regression"] = Field(
        default="auto", description="auto: several label columns are several labels, one column is a class"
    )
    separator: str = Field(default="", description="several labels in one column: what stands between them, e.g. ;")
    order: list[str] = Field(default=[], description="ordinal: the classes from low to high; else by their numbers")


@dataclass(frozen=True, slots=True)
class LabelledDocuments:
    """Documents with their targets, as `kind` has them.

    multiclass, ordinal: the index of each one's label in `labels`, (N,) int64. multilabel: which of `labels` it has,
    (N, C) int64 of 0 and 1. regression: its value, (N,) float64, of which `labels` is the one name.
    """

    documents: list[Document]
    labels: tuple[str, ...]
    targets: Targets
    kind: TargetKind = "multiclass"

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
        """The label of each document as text; of several, their names with commas between."""
        return [self.name_of(target) for target in self.targets]

    def name_of(self, target: Any) -> str:
        """Return a target, or a prediction in its form, as text."""
        if self.kind == "regression":
            return f"{float(target):g}"
        if self.kind == "multilabel":
            return ", ".join(label for label, has in zip(self.labels, target, strict=True) if has)
        return self.labels[int(target)]

    def part(self, indices: Sequence[int] | Ints) -> LabelledDocuments:
        """Return some of the documents, in the given order."""
        chosen = np.asarray(indices, np.int64)
        documents = [self.documents[i] for i in chosen]
        return LabelledDocuments(documents, self.labels, self.targets[chosen], self.kind)


def read_training_documents(folder: Path, settings: TargetSettings | None = None) -> LabelledDocuments:
    """Read a labelled training split, whose labels are the classes: sorted, or in the order of a scale.

    Raises InputError when it is empty, a document has no label, there is only one label (or value), or a label is not
    what the settings say.
    """
    settings = settings or TargetSettings()
    documents = _read(folder)
    columns = read_manifest(folder).label_names
    kind = _kind(settings, columns, folder)
    if kind == "regression":
        return _numbers(documents, columns, folder)
    if kind == "multilabel":
        labels = columns if len(columns) > 1 else _all_labels(documents, settings.separator)
        return _checked_classes(_several(documents, labels, settings.separator, folder), folder)
    _require_labels(documents, folder)
    found = sorted({str(document.label) for document in documents})
    if len(found) < 2:
        raise InputError(
            f"a classifier needs at least two labels in {folder}",
            found=f"only {found[0]!r}",
            do="give training documents of every class",
        )
    ordered = found if kind == "multiclass" else _on_a_scale(found, settings.order, folder)
    return _of_one_class(documents, ordered, kind)


def read_labelled_documents(
    folder: Path, labels: Sequence[str], target: TargetConfig | None = None
) -> LabelledDocuments:
    """Read a labelled split whose labels must be among `labels`, those of the training split.

    Raises InputError when it is empty, a document has no label, or a label was not seen in training.
    """
    target = target or TargetConfig()
    documents = _read(folder)
    if target.kind == "regression":
        return _numbers(documents, list(labels), folder)
    if target.kind == "multilabel":
        return _several(documents, list(labels), target.separator, folder)
    columns = read_manifest(folder).label_names
    if len(columns) > 1:
        raise _several_columns(folder, columns)
    _require_labels(documents, folder)
    unseen = sorted({str(document.label) for document in documents} - set(labels))
    if unseen:
        raise _unseen(folder, unseen, sum(document.label in unseen for document in documents), labels)
    return _of_one_class(documents, labels, target.kind)


def _kind(settings: TargetSettings, columns: Sequence[str], folder: Path) -> TargetKind:
    if settings.kind == "auto":
        return "multilabel" if len(columns) > 1 or settings.separator else "multiclass"
    if settings.kind == "multilabel" and len(columns) < 2 and not settings.separator:
        raise InputError(
            f"the documents in {folder} have one label column",
            found=", ".join(columns) or "none",
            do='say what stands between several labels, e.g. targets.separator = ";", or name several label columns',
        )
    if settings.kind != "multilabel" and len(columns) > 1:
        raise _several_columns(folder, columns)
    return settings.kind


def _read(folder: Path) -> list[Document]:
    documents = list(read_documents(folder))
    if not documents:
        raise InputError(f"{folder} holds no documents", do="check the split's source and the ingest's decisions")
    if all(document.label is None for document in documents):
        raise _unlabelled(folder, documents)
    return documents


def _require_labels(documents: list[Document], folder: Path) -> None:
    if any(document.label is None for document in documents):
        raise _unlabelled(folder, documents)


def _of_one_class(documents: list[Document], labels: Sequence[str], kind: TargetKind) -> LabelledDocuments:
    index = {label: i for i, label in enumerate(labels)}
    targets = np.array([index[str(document.label)] for document in documents], dtype=np.int64)
    return LabelledDocuments(documents, tuple(labels), targets, kind)


def _on_a_scale(found: list[str], order: Sequence[str], folder: Path) -> list[str]:
    if order:
        missing = sorted(set(found) - set(order))
        if missing or len(set(order)) < len(order):
            named = f"{_names(missing)} is not in it" if missing else "a class is in it twice"
            raise InputError(f"targets.order does not fit the labels in {folder}", found=named, do="name each once")
        return list(order)
    numbers = [_number(label) for label in found]
    if None in numbers:
        raise InputError(
            f"the classes in {folder} are no numbers, so their order is not known",
            found=_names([label for label, number in zip(found, numbers, strict=True) if number is None]),
            do='name them from low to high, e.g. targets.order = ["bad", "fair", "good"]',
        )
    return sorted(found, key=float)


def _all_labels(documents: list[Document], separator: str) -> list[str]:
    return sorted({label for document in documents for label in _parts(document.label, separator)})


def _parts(label: str | None, separator: str) -> list[str]:
    return [part.strip() for part in (label or "").split(separator) if part.strip()]


def _several(documents: list[Document], labels: list[str], separator: str, folder: Path) -> LabelledDocuments:
    targets = np.zeros((len(documents), len(labels)), np.int64)
    if separator:
        index = {label: i for i, label in enumerate(labels)}
        unseen: dict[str, int] = {}
        for row, document in zip(targets, documents, strict=True):
            for part in _parts(document.label, separator):
                if part in index:
                    row[index[part]] = 1
                else:
                    unseen[part] = unseen.get(part, 0) + 1
        if unseen:
            raise _unseen(folder, sorted(unseen), sum(unseen.values()), labels)
        return LabelledDocuments(documents, tuple(labels), targets, "multilabel")
    columns = read_manifest(folder).label_names
    if columns != labels:
        found = f"{', '.join(columns)}; trained on: {', '.join(labels)}"
        raise InputError(f"{folder} has other label columns", found=found, do="name the same ones in the same order")
    _require_labels(documents, folder)
    for row, document in zip(targets, documents, strict=True):
        values = split_labels(document.label or "", len(labels))
        row[:] = [_yes_or_no(value, label, document, folder) for value, label in zip(values, labels, strict=True)]
    return LabelledDocuments(documents, tuple(labels), targets, "multilabel")


def _yes_or_no(value: str, label: str, document: Document, folder: Path) -> int:
    plain = value.strip().lower()
    if plain not in _YES and plain not in _NO:
        raise InputError(
            f"label column {label!r} of {folder} is no yes-or-no label",
            found=f"{value!r} in document {document.id}",
            do="write 1 or 0 in each of several label columns, or name one label column",
        )
    return int(plain in _YES)


def _checked_classes(documents: LabelledDocuments, folder: Path) -> LabelledDocuments:
    counts = documents.targets.sum(0)
    never = [label for label, count in zip(documents.labels, counts, strict=True) if count == 0]
    if never or len(documents.labels) < 2:
        found = f"no document of {_names(never)}" if never else f"only {documents.labels[0]!r}"
        raise InputError(
            f"every label needs documents in {folder}", found=found, do="give documents, or drop the label"
        )
    return documents


def _numbers(documents: list[Document], labels: Sequence[str], folder: Path) -> LabelledDocuments:
    _require_labels(documents, folder)
    values = [_number(str(document.label)) for document in documents]
    bad = [document for document, value in zip(documents, values, strict=True) if value is None]
    if bad:
        raise InputError(
            f"a regression needs numbers for labels in {folder}",
            found=f"{bad[0].label!r} in document {bad[0].id}, and {len(bad) - 1} more",
            do='correct the labels, or set targets.kind = "multiclass"',
        )
    return LabelledDocuments(documents, tuple(labels) or ("value",), np.array(values, np.float64), "regression")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _unlabelled(folder: Path, documents: list[Document]) -> InputError:
    without = [document.id for document in documents if document.label is None]
    return InputError(
        f"{folder} has documents without a label",
        found=f"{len(without)} of {len(documents)}, the first is {without[0]}",
        do="ingest with labelled = true, or name the label column",
    )


def _several_columns(folder: Path, columns: Sequence[str]) -> InputError:
    do = 'name the one that is the class, or set targets.kind = "multilabel"'
    return InputError(f"the documents in {folder} have several label columns", found=", ".join(columns), do=do)


def _unseen(folder: Path, unseen: list[str], count: int, labels: Sequence[str]) -> InputError:
    return InputError(
        f"{folder} has labels that the classifier was not trained on",
        found=f"{_names(unseen)} on {count} documents; trained on: {', '.join(map(repr, labels))}",
        do="correct the labels, or train with documents of these classes",
    )


def _names(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:_SHOWN])) + (f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else "")
