"""Records: columns are checked when they are set, broken text when it is read."""

from __future__ import annotations

import pytest

from ulmfit_dist.config import parse_settings
from ulmfit_dist.corpus.records import (
    BadRecord,
    SourceColumns,
    check_unicode,
    join_labels,
    read_classes,
    split_labels,
)
from ulmfit_dist.errors import InputError, RecipeError


def test_one_text_column_or_several():
    assert SourceColumns().texts == ["text"]
    assert SourceColumns(text=["title", "body"]).texts == ["title", "body"]


@pytest.mark.parametrize("text", ["", [], ["title", ""]])
def test_no_text_column_is_refused(text):
    with pytest.raises(RecipeError, match="text column"):
        parse_settings(SourceColumns, {"text": text}, "a recipe")


def test_a_separator_is_a_regular_expression():
    assert SourceColumns(separator=r"\x1e.*").separator == r"\x1e.*"
    with pytest.raises(RecipeError, match=r"no regular expression: .*unterminated"):
        parse_settings(SourceColumns, {"separator": "[a"}, "a recipe")


def test_surrogates_are_broken_and_everything_else_is_not():
    whole = "a\0\U0010ffff\ufffd\u202e"
    assert check_unicode(whole) == whole
    for broken in ("\udcff", "a\ud800"):
        with pytest.raises(BadRecord, match="broken UTF-8"):
            check_unicode(broken)


def test_classes_beside_a_file(tmp_path):
    assert read_classes(tmp_path / "all.csv") is None
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfneg\r\n pos \n\n")
    assert read_classes(tmp_path / "all.csv") == ["neg", "pos"]
    (tmp_path / "classes.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"classes.txt is not UTF-8"):
        read_classes(tmp_path / "all.csv")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["a", "a"]}, "named twice"),
        ({"label": ["a", ""]}, "label column"),
        ({"label": ["a", "id"]}, "'id'"),
        ({"label": ["a", "b"], "num_labels": 3}, "2 label columns.*num_labels is 3"),
        ({"num_labels": 0}, "num_labels"),
    ],
)
def test_label_columns_that_cannot_be(columns, message):
    with pytest.raises(RecipeError, match=message):
        parse_settings(SourceColumns, columns, "a recipe")


@pytest.mark.parametrize(
    ("values", "label"),
    [
        (["pos"], "pos"),
        ([""], None),
        (["a\x1fb"], "a\x1fb"),
        (["a", ""], "a\x1f"),
        (["", ""], None),
        (["a\x1fb", "c"], "a b\x1fc"),
    ],
)
def test_labels_are_joined_and_split(values, label):
    assert join_labels(values) == label
    if label is not None:
        assert split_labels(label, len(values)) == [
            value if len(values) == 1 else value.replace("\x1f", " ") for value in values
        ]


def test_a_label_of_fewer_values_is_filled_up():
    assert split_labels("pos", 3) == ["pos", "", ""]
    assert split_labels("", 2) == ["", ""]
    assert split_labels("", 0) == []
