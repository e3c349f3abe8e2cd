"""Fifty label files that cannot be right: each is refused with what was wrong, what was found and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ulmfit_dist.config import parse_settings
from ulmfit_dist.corpus.documents import Document, document_id, write_documents
from ulmfit_dist.crawl.checks import check_inputs
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.errors import UlmfitError
from ulmfit_dist.events import Silent
from ulmfit_dist.finetune.labelled import TargetSettings, read_labelled_documents, read_training_documents
from ulmfit_dist.models.targets import TargetConfig
from ulmfit_dist.stage import StageCall

HALF = {"train": 0.5, "valid": 0.5}
WHOLE = {"train": 1.0}


def rows(*labels: str, text: str = "some words of a text") -> str:
    """CSV with a header: a text of its own for each label."""
    return "text,label\n" + "".join(f"{text} number {i},{label}\n" for i, label in enumerate(labels))


def plain(*labels: str) -> str:
    """The layout of 2018: no header, label first."""
    return "".join(f"{label},some text number {i}\n" for i, label in enumerate(labels))


def lines(*values: Any) -> str:
    return "".join(json.dumps({"text": f"text {i}", **value}) + "\n" for i, value in enumerate(values))


GOOD = ["pos", "neg"] * 10
# name, content, splits, columns, what the message must name
FILES: list[tuple[str, str | bytes, dict[str, float], dict[str, Any], str]] = [
    ("empty.csv", "", WHOLE, {}, "empty.csv"),
    ("only_header.csv", "text,label\n", WHOLE, {}, "only_header.csv|no document"),
    ("blank_lines.csv", "\n\n\n", WHOLE, {}, "blank_lines.csv"),
    ("no_label_column.csv", "text\nfirst\nsecond\n", WHOLE, {}, "label"),
    ("other_label_column.csv", "text,class\nfirst,a\nsecond,b\n", WHOLE, {}, "label"),
    ("no_text_column.csv", "body,label\nfirst,a\nsecond,b\n", WHOLE, {}, "'text'"),
    ("capital_header.csv", "Text,Label\nfirst,a\nsecond,b\n", WHOLE, {}, "'text'"),
    ("label_named_wrong.csv", rows(*GOOD), WHOLE, {"label": "labels"}, "labels"),
    ("text_named_wrong.csv", rows(*GOOD), WHOLE, {"text": "words"}, "'words'"),
    ("all_empty.csv", rows("", "", ""), WHOLE, {}, "label"),
    ("all_spaces.csv", rows(" ", "  ", " "), WHOLE, {}, "label"),
    ("one_class.csv", rows(*["pos"] * 8), WHOLE, {}, "'pos'"),
    ("one_document.csv", rows("pos"), WHOLE, {}, "'pos'|one class"),
    ("one_of_2018.csv", plain(*["1"] * 8), WHOLE, {}, "'1'"),
    ("word_labels_of_2018.csv", plain(*GOOD), WHOLE, {}, "2018"),
    ("float_labels_of_2018.csv", plain("1.0", "2.0", "1.0"), WHOLE, {}, "2018"),
    ("one_column.csv", "1\n0\n1\n", WHOLE, {}, "one_column.csv"),
    ("semicolons.csv", "text;label\nfirst;a\nsecond;b\n", WHOLE, {}, "'text'"),
    ("tabs.csv", "text\tlabel\nfirst\ta\nsecond\tb\n", WHOLE, {}, "'text'"),
    ("rare_class.csv", rows(*GOOD, "once"), HALF, {}, "'once'"),
    ("typo.csv", rows(*GOOD, "poss"), HALF, {}, "'poss'"),
    ("case.csv", rows(*GOOD, "Pos"), HALF, {}, "'Pos'"),
    ("each_its_own.csv", rows(*[f"l{i}" for i in range(20)]), HALF, {}, "'l"),
    ("row_numbers.csv", plain(*[str(i) for i in range(20)]), HALF, {}, "'[0-9]+'"),
    ("utf16.csv", rows(*GOOD).encode("utf-16"), WHOLE, {}, "UTF-16"),
    ("binary.csv", bytes(range(256)) * 8, WHOLE, {}, "binary"),
    ("zip.csv", b"PK\x03\x04" + bytes(200), WHOLE, {}, "zip.csv"),
    ("latin1.csv", rows(*["caf\xe9"] * 5, *["th\xe9"] * 5).encode("latin-1"), WHOLE, {}, "broken UTF-8|label"),
    ("columns_short.csv", "text,label\n" + "only a text\n" * 9, WHOLE, {}, "number of columns|label"),
    ("columns_long.csv", "text,label\n" + "a text, with a comma,pos\n" * 9, WHOLE, {}, "number of columns|label"),
    ("open_quote.csv", 'text,label\n"a text,pos\n', WHOLE, {}, "not CSV|label|no document"),
    ("empty.jsonl", "", WHOLE, {}, "empty.jsonl"),
    ("no_label.jsonl", lines({}, {}), WHOLE, {}, "label"),
    ("null_label.jsonl", lines({"label": None}, {"label": None}), WHOLE, {}, "label"),
    ("list_label.jsonl", lines({"label": ["a"]}, {"label": ["b"]}), WHOLE, {}, "label"),
    ("nested_label.jsonl", lines({"label": {"name": "a"}}, {"label": {"name": "b"}}), WHOLE, {}, "label"),
    ("one_class.jsonl", lines(*[{"label": True}] * 5), WHOLE, {}, "'True'"),
    ("an_array.jsonl", '[{"text": "a", "label": "b"}]\n', WHOLE, {}, "JSON|label"),
    ("not_json.jsonl", "text: a, label: b\n" * 5, WHOLE, {}, "JSON|label"),
    ("rare_number.jsonl", lines(*[{"label": i % 2} for i in range(20)], {"label": 7}), HALF, {}, "'7'"),
    ("one_class.tsv", "text\tlabel\nfirst\ta\nsecond\ta\n", WHOLE, {}, "'a'"),
    ("no_label.tsv", "text\tkind\nfirst\ta\nsecond\tb\n", WHOLE, {}, "label"),
    ("broken.parquet", b"PAR1" + b"x" * 100, WHOLE, {}, "broken.parquet"),
]
# name, label columns, labels, target settings, what the message must name
TARGETS: list[tuple[str, list[str], list[str], dict[str, Any], str]] = [
    ("words_in_several_columns", ["a", "b"], ["1\x1fred", "0\x1f1"], {}, "'red'"),
    ("two_in_several_columns", ["a", "b"], ["1\x1f2", "0\x1f1"], {}, "'2'"),
    ("a_label_that_nobody_has", ["a", "b"], ["1\x1f0", "1\x1f0"], {}, "'b'"),
    ("several_columns_as_a_class", ["a", "b"], ["1\x1f0", "0\x1f1"], {"kind": "multiclass"}, "several label columns"),
    ("several_labels_without_separator", ["label"], ["x;y", "x"], {"kind": "multilabel"}, "separator"),
    ("the_wrong_separator", ["label"], ["x;y", "x;y"], {"separator": "|"}, "only 'x;y'"),
    ("a_scale_of_words", ["label"], ["low", "high"], {"kind": "ordinal"}, "order"),
    ("a_scale_that_misses_a_class", ["label"], ["low", "high"], {"kind": "ordinal", "order": ["low"]}, "'high'"),
    ("a_scale_with_a_class_twice", ["label"], ["a", "b"], {"kind": "ordinal", "order": ["a", "b", "a"]}, "twice"),
    ("words_for_numbers", ["stars"], ["4.5", "four"], {"kind": "regression"}, "'four'"),
    ("a_number_that_is_none", ["stars"], ["4.5", "nan"], {"kind": "regression"}, "'nan'"),
    ("decimal_commas", ["stars"], ["4,5", "3,5"], {"kind": "regression"}, "'4,5'"),
]


def _is_clear(error: UlmfitError) -> None:
    assert error.what, "what was wrong"
    assert error.do, "what to do"
    assert len(error.what) < 400
    assert "Traceback" not in str(error)


def test_there_are_fifty() -> None:
    assert len(FILES) + len(TARGETS) >= 50


@pytest.mark.parametrize("case", FILES, ids=[row[0] for row in FILES])
def test_a_broken_label_file_is_refused_with_a_clear_message(
    tmp_path: Path, case: tuple[str, str | bytes, dict[str, float], dict[str, Any], str]
) -> None:
    name, content, splits, columns, named = case
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    values = {"sources": [{"path": str(path)}], "columns": columns, "labelled": True, "splits": splits, "seed": 1}
    settings = parse_settings(IngestSettings, values, "the test")
    with pytest.raises(UlmfitError, match=named) as caught:
        check_inputs(settings, {})
        # What only the whole file shows is found while it is read.
        ingest(StageCall(settings, {}, tmp_path / "out", Silent()))
    _is_clear(caught.value)


@pytest.mark.parametrize("case", TARGETS, ids=[row[0] for row in TARGETS])
def test_labels_that_are_not_what_was_said_are_refused(
    tmp_path: Path, case: tuple[str, list[str], list[str], dict[str, Any], str]
) -> None:
    name, names, labels, settings, named = case
    documents = [Document(document_id(name, str(i)), "a text", label=labels[i % len(labels)]) for i in range(6)]
    write_documents(tmp_path / "documents", documents, 1000, names)
    with pytest.raises(UlmfitError, match=named) as caught:
        read_training_documents(tmp_path / "documents", TargetSettings.model_validate(settings))
    _is_clear(caught.value)
    assert caught.value.found


def test_other_label_columns_than_those_of_training_are_refused(tmp_path: Path) -> None:
    documents = [Document(document_id("x", str(i)), "a text", label="1\x1f0") for i in range(4)]
    write_documents(tmp_path / "turned", documents, 1000, ["b", "a"])
    with pytest.raises(UlmfitError, match="other label columns"):
        read_labelled_documents(tmp_path / "turned", ["a", "b"], TargetConfig(kind="multilabel"))
    with pytest.raises(UlmfitError, match="several label columns"):
        read_labelled_documents(tmp_path / "turned", ["a", "b"])


def test_numbers_for_labels_in_parquet_are_classes(tmp_path: Path) -> None:
    table = pa.table({"text": [f"text {i}" for i in range(6)], "label": [0, 1] * 3})
    pq.write_table(table, tmp_path / "good.parquet")
    values = {"sources": [{"path": str(tmp_path / "good.parquet")}], "labelled": True, "splits": WHOLE}
    settings = parse_settings(IngestSettings, values, "the test")
    check_inputs(settings, {})
    ingest(StageCall(settings, {}, tmp_path / "out", Silent()))
    assert read_training_documents(tmp_path / "out" / "train").labels == ("0", "1")
