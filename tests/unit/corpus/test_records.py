"""Records: columns are checked when they are set, broken text when it is read."""

from __future__ import annotations

import pytest

from ulmfit_dist.config import parse_settings
from ulmfit_dist.corpus.records import BadRecord, SourceColumns, check_unicode, read_classes
from ulmfit_dist.errors import InputError, RecipeError


def test_one_text_column_or_several():
    assert SourceColumns().texts == ["text"]
    assert SourceColumns(text=["title", "body"]).texts == ["title", "body"]


@pytest.mark.parametrize("text", ["", [], ["title", ""]])
def test_no_text_column_is_refused(text):
    with pytest.raises(RecipeError, match="text column"):
        parse_settings(SourceColumns, {"text": text}, "a recipe")


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
