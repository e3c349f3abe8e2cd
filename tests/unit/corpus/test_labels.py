"""Labels beside the shards: in stream order, of the right documents, one column a label name."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ulmfit_dist.corpus.labels import labels_name, read_labels_column, write_labels
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.errors import DataError, DigestError, InputError
from ulmfit_dist.files import digest_file
from ulmfit_dist.tokenization.tokenizer import Encoded


@pytest.fixture
def receipts(tmp_path, tokenizer):
    def shard(index, *numbers):
        pairs = [(f"{number:032x}", Encoded(np.array([2], np.uint32), 1, 1, 0, 0.0)) for number in numbers]
        return write_shard(tmp_path / f"shard-{index:05d}.h5", pairs, tokenizer, "")

    return [shard(0, 1, 2), shard(1), shard(2, 3)]


def rows(*labels, ids=(1, 2, 3)):
    return [(f"{number:032x}", *label) for number, label in zip(ids, labels, strict=True)]


def test_one_label_is_a_plain_table_of_id_and_label(tmp_path, receipts):
    path = tmp_path / "labels.parquet"
    file = write_labels(path, receipts, rows(["neg"], ["pos"], ["neg"]), ("label",))
    assert file == {"name": "labels.parquet", "bytes": path.stat().st_size, "xxh3_128": digest_file(path)}
    plain = pa.table({"id": [f"{number:032x}" for number in (1, 2, 3)], "label": ["neg", "pos", "neg"]})
    assert pq.read_table(path).equals(plain)
    pq.write_table(plain, tmp_path / "plain", compression="zstd")
    assert path.read_bytes() == (tmp_path / "plain").read_bytes()


def test_several_labels_are_several_columns(tmp_path, receipts):
    names = ("topic", "tone")
    files = [write_labels(tmp_path / "labels.parquet", receipts, rows(["a", "x"], ["b", "y"], ["a", "ü"]), names)]
    labels = {"names": names, "files": files}
    assert read_labels_column(tmp_path, labels, "topic") == ["a", "b", "a"]
    assert read_labels_column(tmp_path, labels, "tone") == ["x", "y", "ü"]
    with pytest.raises(InputError, match="no such label.*'label'.*topic, tone"):
        read_labels_column(tmp_path, labels, "label")


@pytest.mark.parametrize(
    ("given_rows", "found"),
    [
        (rows(["a"], ["b"], ["c"], ids=(2, 1, 3)), "shard-00000.h5"),
        (rows(["a"], ["b"], ids=(1, 2)), "shard-00002.h5"),
        (rows(["a"], ["b"], ["c"], ["d"], ids=(1, 2, 3, 4)), "more labels than documents"),
        (rows(["a"], ["b", "c"], ["d"]), "rows of other than 2 values"),
    ],
)
def test_labels_of_other_documents_are_refused_and_leave_no_file(tmp_path, receipts, given_rows, found):
    with pytest.raises(DataError, match=f"labels are not of the documents.*{found}"):
        write_labels(tmp_path / "labels.parquet", receipts, given_rows, ("label",))
    assert not (tmp_path / "labels.parquet").exists()


@pytest.mark.parametrize("names", [("id",), ("tone", "tone")])
def test_names_that_would_hide_a_column_are_refused(tmp_path, receipts, names):
    with pytest.raises(InputError, match="different names"):
        write_labels(tmp_path / "labels.parquet", receipts, [], names)


def test_no_documents_give_an_empty_table(tmp_path):
    file = write_labels(tmp_path / "labels.parquet", [], [], ("label",))
    assert read_labels_column(tmp_path, {"names": ["label"], "files": [file]}, "label") == []


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "labels.parquet").write_bytes(b"other")
    with pytest.raises(DigestError, match=r"labels.parquet is damaged"):
        read_labels_column(tmp_path, {"names": ["label"], "files": [{"name": "labels.parquet"}]}, "label")


def test_files_are_numbered_after_the_first():
    assert [labels_name(number) for number in range(3)] == [
        "labels.parquet",
        "labels-00001.parquet",
        "labels-00002.parquet",
    ]
