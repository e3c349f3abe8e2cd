"""Fields of a raw document and what cannot be encoded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.tokenization.rawtext import join_fields, split_fields


def test_one_field_is_the_text_itself():
    assert join_fields(["a b"]) == "a b"
    assert split_fields("a b") == ["a b"]
    assert split_fields("") == [""]


@given(st.lists(st.text(), min_size=1))
def test_fields_come_back_in_their_places(fields):
    assert split_fields(join_fields(fields)) == [field.replace("\x1f", " ") for field in fields]


def test_lone_surrogates_become_the_replacement_character():
    assert split_fields("a\ud800b\udfff😀") == ["a\ufffdb\ufffd😀"]
