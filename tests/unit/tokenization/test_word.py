"""Word tokens: the reference path, its ids and its prices."""

from __future__ import annotations

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.attrs import ORTH

from ulmfit_dist.tokenization import spacy_words, word
from ulmfit_dist.tokenization.rawtext import join_fields
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.special import SPECIALS
from ulmfit_dist.tokenization.spelling import CharacterModel
from ulmfit_dist.tokenization.vocabulary import Vocabulary, build_vocabulary, count_words

TEXTS = ["The cat sat on the mat.", "Wow!!!! A DOG, a dog", "no no no", "Кот и пёс\nи кот", "title 1 2 3"] * 3


def make(recipe=None, texts=TEXTS):
    recipe = recipe or WordRecipe(min_freq=1)
    return word.WordTokenizer(recipe, build_vocabulary(count_words(texts, word.WordSplitter(recipe)), recipe))


TOKENIZER = make()


def test_without_anything_for_a_rule_the_tokens_are_spacys():
    text = "don't e-mail (me) at a.b@c.org, it's 5km away... really?! 10% of $3.50"
    assert TOKENIZER.tokens(text)[1:] == [token.text for token in spacy.blank("en").tokenizer(text)]


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\t\xa0", "<br />"])
def test_a_document_with_no_text_is_its_beginning(text):
    (encoded,) = TOKENIZER.encode([text])
    assert encoded.ids.tolist() == [TOKENIZER.bos_id]
    assert encoded.ids.dtype == np.uint32
    assert (encoded.characters, encoded.unknown, encoded.unknown_bits) == (len(text), 0, 0.0)


def test_fields_are_marked_when_there_are_several():
    assert TOKENIZER.tokens(join_fields(["title"])) == ["xxbos", "title"]
    tokens = TOKENIZER.tokens(join_fields(["title", "", "xxfld 9"]))
    assert " ".join(tokens) == "xxbos xxfld 1 title xxfld 2 xxfld 3 xx fld 9"


@pytest.mark.parametrize("special", SPECIALS)
def test_no_text_gives_the_special_tokens_that_no_rule_gives(special):
    (encoded,) = TOKENIZER.encode([f"{special} {special.upper()} (the-{special}). {special}{special}"])
    tokens = TOKENIZER.tokens(f"{special} is {special}")
    assert tokens == ["xxbos", "xx", special[2:], "is", "xx", special[2:]]
    assert not np.isin(encoded.ids[1:], [TOKENIZER.pad_id, TOKENIZER.bos_id, 3, 4]).any()


def test_ids_are_the_vocabulary_places_of_the_tokens():
    text = "The cat, THE dog!!!!\nno no no кот"
    (encoded,) = TOKENIZER.encode([text])
    tokens = " ".join(TOKENIZER.vocabulary.itos[index] for index in encoded.ids)
    assert tokens == "xxbos xxmaj the cat , xxup the dog xxrep 4 ! xxnl xxwrep 3 no кот"
    assert TOKENIZER.decode(encoded.ids) == "The cat , THE dog !!!!\nno no no кот"


def test_unknown_words_pay_for_their_letters():
    text = "The ox sat Zzyx"
    (encoded,) = TOKENIZER.encode([text])
    spelling = CharacterModel(TOKENIZER.vocabulary.characters)
    assert encoded.unknown == 2
    assert encoded.unknown_bits == pytest.approx(spelling.bits("ox") + spelling.bits("zzyx"))
    assert encoded.ids[2:].tolist().count(TOKENIZER.unk_id) == 2


def test_unknown_bits_by_hand():
    tokenizer = word.WordTokenizer(WordRecipe(), Vocabulary((*SPECIALS, "a"), {"a": 4, "b": 2, "": 1}))
    assert tokenizer.encode(["a ba a"])[0].unknown_bits == pytest.approx(2 + 1 + 3)


@given(st.lists(st.text() | st.text("aAxX!n o\nбфё\x1f<br>&;日ก"), max_size=4))
def test_any_text_is_encoded(texts):
    encoded = TOKENIZER.encode(texts)
    assert len(encoded) == len(texts)
    for text, one in zip(texts, encoded, strict=True):
        assert one.ids[0] == TOKENIZER.bos_id
        assert one.ids.max() < TOKENIZER.vocab_size
        assert one.characters == len(text)
        assert len(one.ids) == len(TOKENIZER.tokens(text))
        assert one.unknown == int((one.ids == TOKENIZER.unk_id).sum())
        assert (one.unknown_bits > 0) == (one.unknown > 0)
        assert not any(token.isspace() for token in TOKENIZER.tokens(text))


def test_a_lone_surrogate_is_encoded():
    assert TOKENIZER.tokens("a \ud83d b") == ["xxbos", "a", "\ufffd", "b"]


def test_ids_do_not_depend_on_company_or_history():
    together = TOKENIZER.encode(TEXTS)
    for text, one in zip(TEXTS, together, strict=True):
        assert make().encode([text])[0].ids.tolist() == one.ids.tolist()
        break
    assert [one.ids.tolist() for one in reversed(TOKENIZER.encode(TEXTS[::-1]))] == [
        one.ids.tolist() for one in together
    ]


def test_a_splitter_that_starts_spacy_anew_gives_the_same(monkeypatch):
    expected = [TOKENIZER.tokens(text) for text in TEXTS]
    monkeypatch.setattr(spacy_words, "_MAX_STRINGS", 0)
    splitter = word.WordSplitter(WordRecipe())
    first = splitter._words._tokenizer
    assert [splitter.tokens(text) for text in TEXTS[:2]] == expected[:2]
    assert splitter._words._tokenizer is not first


def test_the_fingerprint_changes_with_what_changes_ids():
    other_word = Vocabulary((*TOKENIZER.vocabulary.itos[:-1], "other"), TOKENIZER.vocabulary.characters)
    swapped = Vocabulary((*SPECIALS, *TOKENIZER.vocabulary.itos[:9:-1]), TOKENIZER.vocabulary.characters)
    recipe = TOKENIZER.recipe
    prints = [
        TOKENIZER.fingerprint,
        word.WordTokenizer(recipe, other_word).fingerprint,
        word.WordTokenizer(recipe, swapped).fingerprint,
        word.WordTokenizer(recipe.model_copy(update={"language": "de"}), TOKENIZER.vocabulary).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert make().fingerprint == TOKENIZER.fingerprint


def test_the_fingerprint_changes_with_spacys_rules(monkeypatch):
    start = spacy_words.SpacyWords._start

    def changed(self):
        start(self)
        self._tokenizer.add_special_case("gonnae", [{ORTH: "gon"}, {ORTH: "nae"}])

    monkeypatch.setattr(spacy_words.SpacyWords, "_start", changed)
    assert make().fingerprint != TOKENIZER.fingerprint


def test_the_fingerprint_keeps_its_value_when_only_the_recipe_s_limits_differ():
    recipe = TOKENIZER.recipe.model_copy(update={"max_vocab": 50_000})
    assert word.WordTokenizer(recipe, TOKENIZER.vocabulary).fingerprint == TOKENIZER.fingerprint
