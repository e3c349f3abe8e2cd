"""Alignment by id and label, and the table on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ulmfit_dist.errors import DataError
from ulmfit_dist.finetune.predictions import Predictions, read_predictions, write_predictions

FIRST = Predictions(("d1", "d2"), ("neg", "pos"), np.array([[0.9, 0.1], [0.3, 0.7]]))
# The same documents and labels in another order: d2 = (pos .5, neg .5), d1 = (pos .3, neg .7).
SECOND = Predictions(("d2", "d1"), ("pos", "neg"), np.array([[0.5, 0.5], [0.3, 0.7]]))


def test_rows_and_columns_are_found_by_name() -> None:
    assert SECOND.aligned(FIRST.ids, FIRST.labels).tolist() == [[0.7, 0.3], [0.5, 0.5]]
    assert FIRST.aligned(SECOND.ids, SECOND.labels).tolist() == [[0.7, 0.3], [0.1, 0.9]]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (Predictions(("d1", "d3"), ("neg", "pos"), FIRST.probabilities), "documents"),
        (Predictions(("d1", "d2"), ("neg", "neutral"), FIRST.probabilities), "labels"),
    ],
)
def test_other_documents_or_labels_are_refused(other: Predictions, what: str) -> None:
    with pytest.raises(DataError, match=f"same {what}"):
        other.aligned(FIRST.ids, FIRST.labels)


def test_the_table_reads_back_in_one_order(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, {"a": FIRST, "b": SECOND}, ["neg", "pos"])
    table = pq.read_table(path).to_pylist()
    assert table[0] == {"id": "d1", "label": "neg", "a": [0.9, 0.1], "b": [0.7, 0.3]}
    again = read_predictions(path)
    assert again["b"].labels == ("neg", "pos")
    assert again["b"].aligned(SECOND.ids, SECOND.labels) == pytest.approx(SECOND.probabilities)
    first_bytes = path.read_bytes()
    write_predictions(path, {"a": FIRST, "b": SECOND}, ["neg", "pos"])
    assert path.read_bytes() == first_bytes
