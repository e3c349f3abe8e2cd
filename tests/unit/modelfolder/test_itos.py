"""Vocabularies are read as data, told apart by their marks, and translated job by job."""

from __future__ import annotations

import pickle

import pytest

from ulmfit_dist.errors import InputError
from ulmfit_dist.modelfolder.itos import MEAN_ROW, generation, read_itos, renamed, translated
from ulmfit_dist.tokenization.rules import RULE_SETS
from ulmfit_dist.tokenization.special import SPECIALS


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickled_list(published, tmp_path, protocol):
    tokens = [*published.MARKS_0_7, "été", "\u4eba", "'s", "\U0001f600", " \n "]
    assert read_itos(published.save_itos(tmp_path / "itos.pkl", tokens, protocol)) == tokens


@pytest.mark.parametrize("old", [False, True])
def test_the_corpus_of_awd_lstm_lm(published, tmp_path, old):
    corpus = published.awd_corpus(published.MARKS_AWD)
    assert read_itos(published.save(tmp_path / "corpus.data", corpus, old)) == published.MARKS_AWD


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": 0}, "no list of strings"),
        ([], "no list of strings"),
        ("text", "no list of strings"),
        (["a", 1], "no list of strings"),
        (["a", None], "no list of strings"),
        (["a", ["b"]], "no list of strings"),
        (["a", "b", "a"], "the token 'a' twice"),
        (["xxfake", "xxfake"], None),
        (["a", "\ud800"], "not Unicode"),
        (["xxunk", "xxpad", "\u2581the", "\u2581a"], "SentencePiece"),
        (pickle.Pickler, "pickle.Pickler|_pickle.Pickler"),
    ],
)
def test_what_is_no_vocabulary(tmp_path, value, found):
    path = tmp_path / "itos.pkl"
    path.write_bytes(pickle.dumps(value))
    if found is None:
        assert read_itos(path) == value
        return
    with pytest.raises(InputError, match=found):
        read_itos(path)


@pytest.mark.parametrize("content", [b"", b"the\nof\n", b"\x80\x04]\x94(\x8c\x03the", b'["the", "of"]'])
def test_what_is_no_pickle(tmp_path, content):
    path = tmp_path / "itos.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="refused"):
        read_itos(path)


def test_a_missing_vocabulary(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_itos(tmp_path / "itos.pkl")


def test_fillers_may_repeat(published, tmp_path):
    tokens = [*published.MARKS_1, "xxfake", "xxfake"]
    assert read_itos(published.save_itos(tmp_path / "itos.pkl", tokens)) == tokens


@pytest.mark.parametrize(
    ("marks", "name"),
    [("MARKS_0_7", "fastai-0.7"), ("MARKS_1", "fastai-1"), ("MARKS_2", "fastai-2"), ("MARKS_AWD", "awd-lstm-lm")],
)
def test_generations_are_told_apart(published, marks, name):
    assert generation(getattr(published, marks)) == name


def test_generations_of_our_own_rule_sets():
    for name, rules in RULE_SETS.items():
        assert generation([*rules.specials, "the"]) == name


def test_early_fastai_1_without_xxeos():
    assert generation(["xxunk", "xxpad", "xxbos", "xxfld", "xxmaj", "xxup", "xxrep", "xxwrep", "the"]) == "fastai-1"


def test_an_unknown_generation():
    with pytest.raises(InputError, match=r"begins with '\[PAD\]', '\[UNK\]'"):
        generation(["[PAD]", "[UNK]", "the"])


@pytest.mark.parametrize("name", ["MARKS_0_7", "MARKS_1", "MARKS_2"])
def test_the_same_rules_keep_every_token_in_its_place(published, name):
    tokens = published.words(getattr(published, name), 20) + ["xxfake"] * 2
    own = generation(tokens)
    assert translated(tokens, own, own) == (tokens, list(range(22)))


def test_2018_in_our_own_rules(published):
    tokens = published.words(published.MARKS_0_7, 14)
    new, rows = translated(tokens, "fastai-0.7", "ulmfit-1")
    assert new == [*SPECIALS, "the", ",", ".", "word0", "word1", "word2"]
    source = [tokens[row] if row != MEAN_ROW else None for row in rows]
    assert source == [
        "_unk_", "_pad_", "xbos", None, "xfld", None, "t_up", "tk_rep", "tk_wrep", "\n",
        "the", ",", ".", "word0", "word1", "word2",
    ]  # fmt: skip


def test_awd_lstm_lm_in_our_own_rules(published):
    new, rows = translated(published.MARKS_AWD, "awd-lstm-lm", "ulmfit-1")
    assert new == [*SPECIALS, "the", "film", "=", "Valkyria"]
    mean = MEAN_ROW
    assert rows == [3, mean, 1, 1, mean, mean, mean, mean, mean, 1, 0, 2, 4, 5]


def test_fastai_1_in_the_words_of_2018(published):
    tokens = [*published.MARKS_1, "xxfake", "xxfake"]
    new, rows = translated(tokens, "fastai-1", "fastai-0.7")
    assert new == ["_unk_", "_pad_", "xbos", "xfld", "t_up", "tk_rep", "tk_wrep", "\n", "the"]
    assert [tokens[row] for row in rows] == [
        "xxunk", "xxpad", "xxbos", "xxfld", "xxup", "xxrep", "xxwrep", "\n", "the",
    ]  # fmt: skip


def test_a_token_of_the_other_rules_keeps_its_row():
    tokens = ["_unk_", "_pad_", "xxmaj", "xbos"]
    new, rows = translated(tokens, "fastai-0.7", "ulmfit-1")
    assert rows[new.index("xxmaj")] == 2
    assert len(set(new)) == len(new) == len(rows)


def test_renaming_keeps_places():
    tokens = [*SPECIALS, "the", "_unk_"]
    assert renamed(tokens, "ulmfit-1", "fastai-2") == [*SPECIALS[:9], "\n", "the", "_unk_"]
    assert renamed(["_unk_", "_pad_", "xbos", "t_up", "a"], "fastai-0.7", "fastai-2") == [
        "xxunk", "xxpad", "xxbos", "xxup", "a",
    ]  # fmt: skip


def test_renaming_makes_no_token_twice():
    assert renamed(["xxunk", "xxpad", "xxnl", "\n"], "ulmfit-1", "fastai-2") == ["xxunk", "xxpad", "xxnl", "\n"]
