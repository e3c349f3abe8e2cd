"""The memo gives what spaCy and the rules give on whole texts: any text, several languages, every rule set."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.tokenization import chunks, memo
from ulmfit_dist.tokenization.memo import ChunkMemo
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.rules import RULE_SETS
from ulmfit_dist.tokenization.word import WordSplitter

LANGUAGES = ("en", "de", "fr", "es", "ru", "tr", "hi", "ar")
DATA = Path(__file__).parents[2] / "data" / "udhr"
# Pieces of text at which some step of the memo could go wrong: markers, entities, repeats, capitals, white space.
PIECES = (
    *("the", "Love", "No", "no", "NO", "xxbos", "xxMAJ", "10km", "$5", "e.g.", "İ", "ẞ", "Ǆ", "\ufdd0", "\ufdd0d"),
    *("&amp;", "&lt;br&gt;", "<br />", "&#10;", "&nbsp;", "&#x1f;", "!!!!", "aaaa", "4444", "4", "好好好好", "\ud800"),
    *("http://x.org/a?b=1", "a@b.c", "(", '"', "'", "...", "—", "ﬁ", "e\u0301", "हिन्दी", "سلام", "в", "т.ч.", "EE."),
    *("UU.", "x" * 50, "½", "👍🏽", "👍", "1,000", "U.S.A.", "o.O", ":-)", ":", "/", "#", "Elvis'", "''Love", "\x00"),
)
GAPS = (" ", " ", " ", " ", "", "  ", "\n", "\n ", " \n", "\t", "\x85", "\xa0", "\u2028", "\x1f", "\r\n\r\n")


def splitter(language="en", rules="ulmfit-1"):
    return WordSplitter(WordRecipe(language=language, rules=rules))


def documents(made: ChunkMemo, texts):
    tokens = made.encode(texts)
    bounds = zip(tokens.starts[:-1].tolist(), tokens.starts[1:].tolist(), strict=True)
    return [[made.tokens[code] for code in tokens.codes[start:end].tolist()] for start, end in bounds]


def tangle(randomness: random.Random, pieces, longest=12) -> str:
    """A text of pieces in any order, now and then with punctuation stuck to them."""
    out = []
    for _ in range(randomness.randrange(1, longest)):
        piece = randomness.choice(pieces) * (randomness.randrange(1, 5) if randomness.random() < 0.15 else 1)
        before = randomness.choice("(\"'.,:!-") if randomness.random() < 0.2 else ""
        after = randomness.choice(")\"'.,:?-") if randomness.random() < 0.2 else ""
        out += [before, piece, after, randomness.choice(GAPS)]
    return "".join(out)


def special_pieces(made: WordSplitter):
    """Every special case of the language, cut at its tokens and at its blanks: what can reach over a blank."""
    cases = made._words.special_cases
    cuts = {"".join(tokens[:end]) for tokens in cases.values() for end in range(1, len(tokens))}
    return [*cases, *sorted(cuts), *(part for case in cases for part in case.split())]


@pytest.mark.parametrize("rules", sorted(RULE_SETS))
@pytest.mark.parametrize("language", LANGUAGES)
def test_tangled_texts_get_the_tokens_of_the_reference(language, rules):
    made = splitter(language, rules)
    randomness = random.Random(f"{language} {rules}")
    cases = special_pieces(made)
    texts = [
        tangle(randomness, PIECES if n % 3 == 0 else cases if n % 3 == 1 else (*cases, *PIECES)) for n in range(300)
    ]
    assert documents(ChunkMemo(made), texts) == [made.tokens(text) for text in texts]


@given(st.lists(st.text() | st.text("aAxX!n o\nбфё\x1f<br>&;日ก.'4") | st.sampled_from(PIECES), max_size=5))
def test_any_texts_get_the_tokens_of_the_reference(texts):
    assert documents(EN_MEMO, texts) == [EN.tokens(text) for text in texts]
    assert EN_MEMO.encode(texts).words.tolist() == [EN.count_words(text) for text in texts]


EN = splitter()
EN_MEMO = ChunkMemo(EN)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_whole_declaration_of_human_rights_gets_the_tokens_of_the_reference(language):
    text = (DATA / f"{language}.txt").read_text(encoding="utf-8")
    made = splitter(language)
    texts = [text, *text.split("\n\n"), text.upper(), text.replace("\n", "<br />"), text[::-1]]
    assert documents(ChunkMemo(made), texts) == [made.tokens(one) for one in texts]


def test_chunks_that_reach_over_a_blank_are_cut_together(monkeypatch):
    assert documents(ChunkMemo(EN), [") - :*xdd"]) == [EN.tokens(") - :*xdd")]
    text = "Elvis' ''Love Me Tender"
    expected = [EN.tokens(text)]
    assert documents(ChunkMemo(EN), [text]) == expected
    monkeypatch.setattr(memo, "linked_runs", lambda _: [])
    assert documents(ChunkMemo(EN), [text]) != expected
    middle = ") - :*xdd"
    assert documents(ChunkMemo(EN), [middle]) != [EN.tokens(middle)]
    russian = splitter("ru")
    expected = [russian.tokens("в т.ч. и т.д.")]
    assert documents(ChunkMemo(russian), ["в т.ч. и т.д."]) != expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["no no no", "no"], ["xxbos xxwrep 3 no", "xxbos no"]),
        (["No NO no no x x x"], ["xxbos xxwrep 4 xxmaj no xxwrep 3 x"]),
        (["4444 4 4 4 4"], ["xxbos xxrep 4 4 xxwrep 4 4"]),
        (["a a\x1fa\x1f2 2 2"], ["xxbos xxfld 1 a a xxfld 2 a xxfld 3 xxwrep 3 2"]),
        (["2\x1f2 2"], ["xxbos xxfld 1 2 xxfld 2 2 2"]),
        (["", "", "", "- - - -"], ["xxbos", "xxbos", "xxbos", "xxbos - - - -"]),
        (["zz no\nno\nno zz"], ["xxbos zz no xxnl no xxnl no zz"]),
    ],
)
def test_repeated_words_by_hand(texts, expected):
    assert [" ".join(tokens) for tokens in documents(EN_MEMO, texts)] == expected
    assert [" ".join(EN.tokens(text)) for text in texts] == expected


def test_tokens_do_not_depend_on_batches_or_on_starting_anew(monkeypatch):
    texts = [tangle(random.Random(n), PIECES) for n in range(200)]
    expected = [EN.tokens(text) for text in texts]
    monkeypatch.setattr(chunks, "_BATCH_CHARACTERS", 50)
    monkeypatch.setattr(memo, "_MAX_ENTRIES", 20)
    small = ChunkMemo(EN)
    for start in range(0, len(texts), 40):
        first = small.tokens
        assert documents(small, texts[start : start + 40]) == expected[start : start + 40]
        assert start == 0 or small.tokens is not first
    assert documents(small, texts[::-1]) == expected[::-1]


def test_counts_are_those_of_the_tokens():
    texts = ["The cat, the CAT", "no no no", "\ufdd0 stays", ""]
    tokens = [token for text in texts for token in EN.tokens(text)]
    assert EN_MEMO.count(texts).as_dict() == {token: tokens.count(token) for token in tokens}


def test_no_documents_are_no_tokens():
    tokens = EN_MEMO.encode([])
    assert (len(tokens.codes), tokens.starts.tolist(), len(tokens.words)) == (0, [0], 0)
    assert tokens.codes.dtype == np.int32


def test_a_known_chunk_is_not_cut_again():
    made = ChunkMemo(EN)
    made.encode(["The cat sat on the mat."])
    assert made.missed == 6
    made.encode(["the cat sat on The mat. mat"])
    assert made.missed == 7
