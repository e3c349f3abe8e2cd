"""Given tokens keep their ids, wrong ones are refused, and the report adds up."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.errors import DataError, InputError
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.reuse import check_entries, read_itos, report_vocabulary, reuse_vocabulary
from ulmfit_dist.tokenization.rules import RULE_SETS, rule_set
from ulmfit_dist.tokenization.special import SPECIALS
from ulmfit_dist.tokenization.vocabulary import Vocabulary, WordCounts, build_vocabulary

COUNTS = WordCounts.of({"xxbos": 4, "xxmaj": 3, "the": 6, "cat": 3, "ox": 3, "emu": 1}, 4)


def test_tokens_keep_their_ids_and_the_characters_are_those_of_the_text():
    itos = [*SPECIALS, "zebra", "the", "cat"]
    vocabulary = reuse_vocabulary(itos, COUNTS, WordRecipe(max_vocab=11, min_freq=100))
    assert vocabulary.itos == tuple(itos)
    assert vocabulary.characters == build_vocabulary(COUNTS, WordRecipe(min_freq=1)).characters


def test_no_documents_is_a_data_error():
    with pytest.raises(DataError, match="no text"):
        reuse_vocabulary([*SPECIALS, "a"], WordCounts.of({}, 0), WordRecipe())
    with pytest.raises(DataError, match="no text"):
        report_vocabulary(WordCounts.of({}, 0), Vocabulary((*SPECIALS, "a"), {}), SPECIALS)


def test_the_report_by_hand():
    vocabulary = Vocabulary((*SPECIALS, "zebra", "the", "cat"), {})
    report = report_vocabulary(COUNTS, vocabulary, SPECIALS, most=1)
    assert (report.documents, report.tokens, report.types, report.entries) == (4, 13, 4, 13)
    assert (report.known_tokens, report.known_types, report.unused) == (9, 2, 1)
    assert report.coverage == pytest.approx(9 / 13)
    assert report.unknown_rate == pytest.approx(4 / 13)
    assert report.frequent_unknown == (("ox", 3),)
    assert report_vocabulary(COUNTS, vocabulary, SPECIALS).frequent_unknown == (("ox", 3), ("emu", 1))


def test_a_text_of_special_tokens_alone_has_nothing_unknown():
    report = report_vocabulary(WordCounts.of({"xxbos": 2}, 2), Vocabulary(SPECIALS, {}), SPECIALS)
    assert (report.tokens, report.coverage, report.unknown_rate) == (0, 1.0, 0.0)


@given(
    st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 9)), st.sets(st.sampled_from("abcdefgxyz"), min_size=1)
)
def test_the_report_adds_up(words, entries):
    vocabulary = Vocabulary((*SPECIALS, *sorted(entries)), {})
    report = report_vocabulary(WordCounts.of(words | {"xxbos": 3}, 3), vocabulary, SPECIALS)
    assert report.known_tokens == sum(words[token] for token in words if token in entries)
    assert report.tokens == report.known_tokens + sum(count for _, count in report.frequent_unknown)
    assert report.unused == len(entries - words.keys())
    assert list(report.frequent_unknown) == sorted(report.frequent_unknown, key=lambda item: (-item[1], item[0]))


@pytest.mark.parametrize("name", RULE_SETS)
def test_the_special_tokens_of_a_rule_set_are_accepted_for_it_and_named_for_another(name):
    itos = [*rule_set(name).specials, "xbos", "a"]
    check_entries(itos, rule_set(name))
    other = rule_set("fastai-2" if name != "fastai-2" else "ulmfit-1")
    with pytest.raises(InputError, match=rf'special tokens of the rule set {other.name}.*set rules = "{name}"'):
        check_entries(itos, other)


@pytest.mark.parametrize(
    ("itos", "rules", "message"),
    [
        (["a", "b"], "ulmfit-1", "found: 'a' 'b' instead of xxunk xxpad.*known rule set"),
        ([], "fastai-1", "does not begin"),
        (["_unk_", "_pad_", "a"], "fastai-0.7", "lacks xbos"),
        ([*SPECIALS, "a", "b", "a"], "ulmfit-1", "two ids; found: 'a' at 10 and 12"),
    ],
)
def test_tokens_that_cannot_be_used_are_refused(itos, rules, message):
    with pytest.raises(InputError, match=message):
        check_entries(itos, rule_set(rules))


def test_the_filler_of_fastai_may_repeat():
    check_entries([*rule_set("fastai-1").specials, "a", *["xxfake"] * 6], rule_set("fastai-1"))


@pytest.mark.parametrize("content", [lambda tokens: tokens, lambda tokens: {"tokens": tokens, "characters": {}}])
def test_tokens_are_read_from_json(tmp_path, content):
    tokens = ["xxunk", "\n", "\u2028", "é", "a b", ""]
    path = tmp_path / "itos.json"
    path.write_text(json.dumps(content(tokens)), encoding="utf-8")
    assert read_itos(path) == tokens


def test_our_own_vocabulary_is_read(tmp_path):
    Vocabulary((*SPECIALS, "\n", "a"), {"a": 1}).save(tmp_path / "vocabulary.json")
    assert read_itos(tmp_path / "vocabulary.json") == [*SPECIALS, "\n", "a"]


def test_tokens_are_read_from_lines(tmp_path):
    path = tmp_path / "itos.txt"
    path.write_bytes("xxunk\na\u2028b\x85\n é\n\nlast\n".encode())
    assert read_itos(path) == ["xxunk", "a\u2028b\x85", " é", "", "last"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("itos.pkl", pickle.dumps(["xxunk"]), "no vocabulary in UTF-8; found: a pickle, it seems; do: .*as JSON"),
        ("itos.txt", b"\xff\xfe", "no vocabulary in UTF-8; found: .*0xff"),
        ("itos.json", b"[1", "not valid JSON"),
        ("itos.json", b"[1, 2]", "no vocabulary; found: '\\[1, 2\\]'.*JSON list"),
        ("itos.json", b'{"stoi": {}}', "no vocabulary"),
        ("itos.json", b'"text"', "no vocabulary"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_itos(tmp_path / name)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_itos(tmp_path / "none.json")
