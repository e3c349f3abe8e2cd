"""Predictions for documents: aligned by document id and label name, and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ulmfit_dist.errors import DataError
from ulmfit_dist.files import atomic_path
from ulmfit_dist.finetune.metrics import Floats

_LABELS_KEY = b"labels"


@dataclass(frozen=True, slots=True)
class Predictions:
    """Probabilities, or values, (N, C): row i belongs to document ids[i], column j to class labels[j]."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: Floats

    def aligned(self, ids: Sequence[str], labels: Sequence[str]) -> Floats:
        """Return the probabilities with rows and columns in the given order.

        Raises DataError when the document ids or the label names are not the same sets.
        """
        return self.probabilities[np.ix_(_order(self.ids, ids, "document"), _order(self.labels, labels, "label"))]


def write_predictions(
    path: Path, predictions: Mapping[str, Predictions], true_labels: Sequence[str | None] | None = None
) -> None:
    """Write a Parquet table: id, label, and one list column of probabilities for each entry, in one order of labels.

    The order of the labels stands in the file's metadata under `labels`, as JSON.
    """
    first = next(iter(predictions.values()))
    columns: dict[str, pa.Array] = {"id": pa.array(first.ids, pa.string())}
    columns["label"] = pa.array(true_labels or [None] * len(first.ids), pa.string())
    for name, entry in predictions.items():
        columns[name] = pa.array(entry.aligned(first.ids, first.labels).tolist(), pa.list_(pa.float64()))
    table = pa.table(columns)
    table = table.replace_schema_metadata({_LABELS_KEY: json.dumps(first.labels, ensure_ascii=False).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_predictions(path: Path) -> dict[str, Predictions]:
    """Read every column of probabilities of a table that `write_predictions` wrote, by name."""
    table = pq.read_table(path)
    labels = tuple(json.loads(table.schema.metadata[_LABELS_KEY]))
    ids = tuple(table["id"].to_pylist())
    return {
        name: Predictions(ids, labels, np.array(table[name].to_pylist(), dtype=np.float64).reshape(-1, len(labels)))
        for name in table.column_names
        if name not in ("id", "label")
    }


def _order(have: Sequence[str], want: Sequence[str], what: str) -> list[int]:
    if len(have) == len(want) and tuple(have) == tuple(want):
        return list(range(len(have)))
    position = {name: i for i, name in enumerate(have)}
    missing = [name for name in want if name not in position]
    extra = sorted(set(have) - set(want))
    if missing or extra:
        raise DataError(
            f"two members do not predict the same {what}s",
            found=f"{len(missing)} missing (such as {missing[:3]}), {len(extra)} more (such as {extra[:3]})",
            do=f"make the members from the same labelled {what}s",
        )
    return [position[name] for name in want]
