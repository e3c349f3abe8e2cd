"""Rules are applied in their order, skipped where their character is missing, and named in a fingerprint."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ulmfit_dist.tokenization.ruleset import Chunking, Part, RuleSet, TextRule, TokenRule

DOUBLE_A = TextRule("double_a", "An a is two.", re.compile("a"), lambda match: match[0] * 2, needs="a")
A_IS_B = TextRule("a_is_b", "An a is a b.", re.compile("a"), lambda _: "b")
REVERSED = TokenRule("reversed", "The last token is first.", lambda tokens: tokens[::-1])
WITHOUT_FIRST = TokenRule("without_first", "The first token is dropped.", lambda tokens: tokens[1:])


def rule_set(text_rules, keeps_white_space=False):
    return RuleSet(
        name="test-1",
        specials=("u", "p"),
        bos="s",
        fld="f",
        parts=lambda fields: [Part(("s",), field) for field in fields],
        text_rules=text_rules,
        token_rules=(REVERSED, WITHOUT_FIRST),
        restore=" ".join,
        chunking=Chunking(field_rules=text_rules, keeps_white_space=keeps_white_space),
    )


def test_rules_act_in_their_order():
    assert rule_set((DOUBLE_A, A_IS_B)).before("xa") == "xbb"
    assert rule_set((A_IS_B, DOUBLE_A)).before("xa") == "xb"
    assert rule_set(()).after(["1", "2", "3"]) == ["2", "1"]


def test_white_space_at_the_ends_stays_only_where_it_makes_tokens():
    assert rule_set(()).before(" \na ") == "a"
    assert rule_set((), keeps_white_space=True).before(" \na ") == " \na "


def test_a_rule_is_not_tried_without_the_character_it_needs():
    calls = []
    never = TextRule(
        "never", "Any character is counted.", re.compile("."), lambda match: calls.append(0) or "", needs="a"
    )
    assert never("bcd") == "bcd"
    assert never("ba") == ""
    assert len(calls) == 2


@pytest.mark.parametrize(
    "other",
    [
        replace(rule_set((DOUBLE_A, A_IS_B)), name="test-2"),
        rule_set((A_IS_B, DOUBLE_A)),
        rule_set((DOUBLE_A, replace(A_IS_B, pattern=re.compile("a", re.IGNORECASE)))),
        replace(rule_set((DOUBLE_A, A_IS_B)), token_rules=(REVERSED,)),
    ],
)
def test_the_identity_changes_with_name_patterns_and_order(other):
    assert rule_set((DOUBLE_A, A_IS_B)).identity() != other.identity()
    assert rule_set((DOUBLE_A, A_IS_B)).identity() == rule_set((DOUBLE_A, A_IS_B)).identity()
