r"""The rule sets of fast.ai against tokens that its own code gave, and their patterns against the plain ones.

golden_fastai.jsonl was written by fast.ai's code (tests/bench/bench_fastai_equality.py checks that it is what that code
gives). The patterns of the package are written for bounded memory and time; here stand the plain ones.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
import spacy
from hypothesis import example, given
from hypothesis import strategies as st
from spacy.attrs import ORTH

from ulmfit_dist.tokenization.rules import RULE_SETS, rule_set

GENERATIONS = ("fastai-0.7", "fastai-1", "fastai-2")
PIECES = (
    "no ",
    "No ",
    "NO",
    "no",
    "a",
    "A",
    "É",
    "é",
    "日",
    "1",
    " ",
    "\n",
    "\t",
    ".",
    "...",
    "!",
    "-",
    "_",
    "'",
    "ß",
    "xxbos ",
)
SMALL_TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def cases():
    lines = (Path(__file__).parent / "golden_fastai.jsonl").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        case = json.loads(line)
        yield pytest.param(case, id=f"{case['rules']}-{case['language']}:{number}")


@cache
def cut_by_spacy(rules, language):
    tokenizer = spacy.blank(language).tokenizer
    for case in rule_set(rules).spacy_cases:
        tokenizer.add_special_case(case, [{ORTH: case}])
    return tokenizer


def tokens_of(rules, language, fields):
    out = []
    for marks, text in rule_set(rules).parts(fields):
        words = [token.text for token in cut_by_spacy(rules, language)(rule_set(rules).before(text))]
        out += [*marks, *rule_set(rules).after(words)]
    return out


def rule_named(rules, name):
    return next(rule for rule in rule_set(rules).text_rules if rule.name == name)


@pytest.mark.parametrize("case", list(cases()))
def test_tokens_are_those_of_the_original(case):
    assert tokens_of(case["rules"], case["language"], case["fields"]) == case["tokens"]


@pytest.mark.parametrize(
    ("rules", "specials"),
    [
        ("fastai-0.7", "_unk_ _pad_"),
        ("fastai-1", "xxunk xxpad xxbos xxeos xxfld xxmaj xxup xxrep xxwrep"),
        ("fastai-2", "xxunk xxpad xxbos xxeos xxfld xxrep xxwrep xxup xxmaj"),
    ],
)
def test_special_tokens_have_the_ids_of_their_generation(rules, specials):
    assert " ".join(rule_set(rules).specials) == specials


@pytest.mark.parametrize(
    ("rules", "least", "mark"), [("fastai-0.7", 4, "tk_rep"), ("fastai-1", 4, "xxrep"), ("fastai-2", 3, "xxrep")]
)
@given(SMALL_TEXTS)
def test_characters_are_counted_as_by_the_plain_pattern(rules, least, mark, text):
    plain = re.compile(rf"(\S)(\1{{{least - 1},}})")
    expected = plain.sub(lambda match: f" {mark} {len(match[2]) + 1} {match[1]} ", text)
    assert rule_named(rules, "count_character_repeats")(text) == expected


@pytest.mark.parametrize(("rules", "mark"), [("fastai-0.7", "tk_wrep"), ("fastai-1", "xxwrep")])
@given(SMALL_TEXTS)
@example("no - no - no - no - no")
@example("a a a a ab a a a a")
def test_words_are_counted_as_by_the_plain_pattern(rules, mark, text):
    text = f"xxbos {text}".replace("xxbos xxbos", "xxbos")
    plain = re.compile(r"(\b\w+\W+)(\1{3,})")
    expected = plain.sub(lambda match: f" {mark} {len(match[2].split()) + 1} {match[1]} ", text)
    assert rule_named(rules, "count_word_repeats")(text) == expected


@given(SMALL_TEXTS)
@example("no no no nob")
@example("no no no. no no no")
@example("no  no\nno\nno\n")
@example("1 1 1é 1 1 1")
def test_words_are_counted_as_by_the_plain_pattern_of_2(text):
    plain = re.compile(r"(?:\s|^)(\w+)\s+((?:\1\s+)+)\1(\s|\W|$)")
    expected = plain.sub(lambda match: f" xxwrep {len(match[2].split()) + 2} {match[1]} {match[3]}", text)
    assert rule_named("fastai-2", "count_word_repeats_2")(text) == expected


@pytest.mark.parametrize(
    ("name", "mark", "pattern"),
    [
        ("mark_capitals_2", "xxup", r"(\s|^)([A-Z]+[^a-z\s]*)(?=(\s|$))"),
        ("mark_first_capitals_2", "xxmaj", r"(\s|^)([A-Z][^A-Z\s]*)(?=(\s|$))"),
    ],
)
@given(SMALL_TEXTS)
@example("A B\nAB Ab A.B aB ABé ABC\n")
def test_capitals_are_marked_as_by_the_plain_pattern_of_2(name, mark, pattern, text):
    def marked(match):
        return f"{match[1]}{mark + ' ' if len(match[2]) > 1 else ''}{match[2].lower()}"

    assert rule_named("fastai-2", name)(text) == re.sub(pattern, marked, text)


@pytest.mark.parametrize("start", ["@.@ 5", "@-@ x", "xxbos xxbos xxbos xxbos x", "  \n", "&nbsp; @.@ x", ""])
@pytest.mark.parametrize("rules", GENERATIONS)
def test_every_document_begins_with_its_mark(rules, start):
    for fields in ([start], [start, start]):
        tokens = tokens_of(rules, "en", fields)
        assert tokens[0] == rule_set(rules).bos
        assert tokens.count(rule_set(rules).fld) == (2 if len(fields) > 1 else rules == "fastai-0.7")


@pytest.mark.parametrize("rules", GENERATIONS)
def test_a_mark_is_one_token_for_spacy(rules):
    marks = {*rule_set(rules).specials[2:], rule_set(rules).bos, rule_set(rules).fld, "t_up", "tk_rep", "tk_wrep"}
    for language in ("en", "de", "fr", "es", "ru", "tr", "hi", "ar", "xx"):
        assert [token.text for token in cut_by_spacy(rules, language)(" ".join(sorted(marks)))] == sorted(marks)


@pytest.mark.parametrize("digits", ["65", "0" * 5000 + "65", "9" * 5000, "0" * 5000])
@pytest.mark.parametrize("rules", GENERATIONS)
def test_a_character_reference_of_any_length_is_read(rules, digits):
    expected = {"65": "A", "99": "\ufffd", "00": "\ufffd"}[digits[-2:]]
    assert rule_set(rules).text_rules[0](f"x &#{digits}; x") == f"x {expected} x"


@pytest.mark.parametrize("rules", GENERATIONS)
@given(st.lists(st.text("aAéÉ. \n", min_size=1, max_size=3)), st.lists(st.text("aAéÉ. \n", min_size=1, max_size=3)))
def test_what_is_said_of_chunks_holds(rules, first, second):
    chosen = RULE_SETS[rules]
    assert chosen.chunking.field_rules == chosen.text_rules
    assert chosen.chunking.token_rules == chosen.token_rules
    assert chosen.chunking.keeps_white_space
    assert chosen.after(first + second) == chosen.after(first) + chosen.after(second)
