"""Tokens read back as text, those of a text and those that only a model gives."""

from __future__ import annotations

import pytest

from ulmfit_dist.tokenization.rules import rule_set


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("xxbos xxmaj he said xxup no xxnl xxmaj bye", "He said NO\nBye"),
        ("wow xxrep 4 ! xxwrep 3 xxmaj no", "wow !!!! No No No"),
        ("xxbos xxfld 1 title xxfld 2 body xxpad xxeos", "title\nbody"),
        ("xxmaj", ""),
        ("xxrep", ""),
        ("xxrep 3", ""),
        ("xxwrep xxmaj no", "no"),  # no text gives this, a model may
        ("xxrep 99999999999 a", "a" * 1000),
    ],
)
def test_restore(tokens, expected):
    assert rule_set("ulmfit-1").restore(tokens.split()) == expected


@pytest.mark.parametrize(
    ("rules", "tokens", "expected"),
    [
        (
            "fastai-0.7",
            "xbos xfld 1 t_up dvd of tk_rep 4 ! tk_wrep 3 no xfld 2 _unk_ _pad_",
            "DVD of !!!! no no no\n_unk_",
        ),
        ("fastai-1", "xxbos xxmaj he said xxup no xxrep 4 !", "He said NO !!!!"),
        ("fastai-2", "xxbos xxwrep 3 xxmaj no xxrep 3 ! \n\u2581 xxmaj bye", "No No No !!!\nBye"),
    ],
)
def test_restore_of_a_generation(rules, tokens, expected):
    assert rule_set(rules).restore(tokens.split(" ")) == expected


def test_white_space_tokens_are_white_space():
    assert rule_set("fastai-1").restore(["xxbos", "a", "\n \n ", "b", "\n"]) == "a\n\nb"
