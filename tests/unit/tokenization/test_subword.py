"""SentencePiece in four scripts: lossless up to the model's normalisation, the same bytes everywhere, clear errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit_dist.errors import DataError
from ulmfit_dist.files import digest_bytes
from ulmfit_dist.tokenization.rawtext import join_fields, replace_lone_surrogates
from ulmfit_dist.tokenization.recipe import SubwordRecipe
from ulmfit_dist.tokenization.special import SPECIALS
from ulmfit_dist.tokenization.spelling import END, CharacterModel
from ulmfit_dist.tokenization.subword import SubwordTokenizer, train_subword

ROOT = Path(__file__).resolve().parents[3]
TRAIN_ELSEWHERE = """
import json, sys
from ulmfit_dist.files import digest_bytes
from ulmfit_dist.tokenization.subword import SubwordRecipe, train_subword
recipe = SubwordRecipe.model_validate_json(sys.argv[1])
print(digest_bytes(train_subword(json.loads(sys.argv[2]), recipe).model))
"""
TEXTS = [
    "the cat sat on the mat and the dog sat on the cat",
    "ℌello ｗorld, it's ﬁne: 1 2 3",
    "кошка сидела на коврике, собака сидела на кошке",
    "η γάτα κάθισε στο χαλί και ο σκύλος",
    "القطة جلست على السجادة والكلب جلس",
    "बिल्ली चटाई पर बैठी और कुत्ता बिल्ली पर",
    "猫は敷物の上に座った。犬も座った。",
    "แมวนั่งบนเสื่อ สุนัขนั่งบนแมว",
    "a dog that barks at cats, a cat that runs from dogs; mats, hats, bats and rats: that is that",
    "собака лает на кошек, кошки бегут от собак; коврики, кошки, крошки",
    "猫が走る。犬が走る。猫も犬も座る。",
    "สุนัขเห่าแมว แมววิ่งหนีสุนัข",
] * 4


def recipe(**values):
    return SubwordRecipe(**{"language": "en", "vocab_size": 150, "character_coverage": 1.0, **values})


PLAIN = train_subword(TEXTS, recipe())
BYTES = train_subword(TEXTS, recipe(vocab_size=400, byte_fallback=True))
BPE = train_subword(TEXTS, recipe(model_type="bpe"))
ALL = pytest.mark.parametrize("tokenizer", [PLAIN, BYTES, BPE], ids=["unigram", "bytes", "bpe"])


@ALL
@pytest.mark.parametrize(
    "text", [*TEXTS[:12], "", " ", "  the \n cat\t ", "\u2581the \u2581", "xxbos xxpad xxunk (xxfld)"]
)
def test_decode_of_encode_is_the_normalisation(tokenizer, text):
    (encoded,) = tokenizer.encode([text])
    if not encoded.unknown:
        assert tokenizer.decode(encoded.ids) == tokenizer.normalize(text)
    assert not encoded.unknown or tokenizer is not BYTES


def test_the_normalisation_is_nfkc_with_single_blanks():
    assert PLAIN.normalize("  ｗorld  \n ﬁne ") == "world fine"


@given(st.text())
def test_with_byte_fallback_any_text_comes_back_normalised(text):
    (encoded,) = BYTES.encode([text.replace("\x1f", " ")])
    assert BYTES.decode(encoded.ids) == BYTES.normalize(text.replace("\x1f", " "))


@ALL
@given(texts=st.lists(st.text() | st.text("the cat\x1f日ก"), max_size=4))
def test_any_text_is_encoded(tokenizer, texts):
    encoded = tokenizer.encode(texts)
    assert len(encoded) == len(texts)
    for text, one in zip(texts, encoded, strict=True):
        assert one.ids.dtype == np.uint32
        assert one.ids[0] == tokenizer.bos_id
        assert one.ids.max() < tokenizer.vocab_size
        assert one.characters == len(text)
        assert len(one.ids) == len(tokenizer.tokens(text))
        assert one.unknown == int((one.ids == tokenizer.unk_id).sum())
        assert (one.unknown_bits > 0) == (one.unknown > 0)


@ALL
@given(texts=st.lists(st.text() | st.text("the cat\x1f日ก\ud83d"), max_size=4))
def test_a_document_gives_the_same_whatever_stands_beside_it(tokenizer, texts):
    together = tokenizer.encode(texts)
    alone = [one for text in texts for one in tokenizer.encode([text])]
    assert [one.ids.tolist() for one in together] == [one.ids.tolist() for one in alone]
    assert [one[1:] for one in together] == [one[1:] for one in alone]


@ALL
@pytest.mark.parametrize("text", ["", "the", "the  cat\nsat ", "the 龘 cat\x1f\x1fthe dog", "แมวนั่ง cat", "\u2581the"])
def test_words_are_the_pieces_that_begin_with_a_blank(tokenizer, text):
    (encoded,) = tokenizer.encode([text])
    assert encoded.words == sum(token.startswith("\u2581") for token in tokenizer.tokens(text))


@ALL
def test_special_ids_are_those_of_word_vocabularies(tokenizer):
    pieces = [tokenizer._pieces.id_to_piece(index) for index in range(5)]
    assert pieces == list(SPECIALS[:5])
    assert (tokenizer.unk_id, tokenizer.pad_id, tokenizer.bos_id) == (0, 1, 2)


@ALL
@pytest.mark.parametrize("special", SPECIALS)
def test_a_special_token_in_the_text_is_text(tokenizer, special):
    (encoded,) = tokenizer.encode([f"{special} ({special}) the{special}"])
    assert not np.isin(encoded.ids[1:], [1, 2, 3, 4]).any()


def test_a_special_token_in_the_training_text_is_text():
    texts = [*TEXTS, *["(xxbos) <xxbos> xxbos a<xxfld>b fox"] * 50]
    for model_type in ("unigram", "bpe"):
        tokenizer = train_subword(texts, recipe(model_type=model_type))
        (encoded,) = tokenizer.encode(texts[-1:])
        assert encoded.unknown == 0
        assert not np.isin(encoded.ids[1:], [1, 2, 3, 4]).any()
        assert tokenizer.decode(encoded.ids) == texts[-1]


def test_a_document_with_no_text_is_its_beginning():
    assert [one.ids.tolist() for one in PLAIN.encode(["", "the", " \n"])] == [
        [2],
        PLAIN.encode(["the"])[0].ids.tolist(),
        [2],
    ]
    assert PLAIN.encode([]) == []


def test_fields_are_marked_when_there_are_several():
    text = join_fields(["the cat", "", "the dog"])
    tokens = PLAIN.tokens(text)
    plain = [PLAIN.tokens(part)[1:] for part in ("1", "the cat", "2", "3", "the dog")]
    assert tokens == ["xxbos", "xxfld", *plain[0], *plain[1], "xxfld", *plain[2], "xxfld", *plain[3], *plain[4]]
    assert [PLAIN._pieces.piece_to_id(token) for token in tokens] == PLAIN.encode([text])[0].ids.tolist()


def test_the_words_of_plain_text_are_those_between_white_space():
    assert [one.words for one in PLAIN.encode(["the cat\n sat", "", join_fields(["the dog", "sat"])])] == [3, 0, 5]


def test_ids_can_be_written_to():
    first, second = PLAIN.encode(["the cat", "the cat"])
    first.ids[:] = 0
    assert second.ids.all()


def test_unknown_pieces_pay_for_their_letters():
    (encoded,) = PLAIN.encode(["the 龘 cat 龘龘"])
    spelling = CharacterModel(PLAIN.characters)
    assert encoded.unknown == 2
    assert encoded.unknown_bits == pytest.approx(spelling.bits("龘") + spelling.bits("龘龘"))


def test_letters_behind_the_last_known_to_be_safe_pay_too():
    tokenizer = train_subword(["the cat \u052f"] * 9, recipe(vocab_size=13))
    known, unknown = tokenizer.encode(["\u052f", "\u0530"])
    assert (known.unknown, known.unknown_bits) == (0, 0)
    assert unknown.unknown_bits == pytest.approx(CharacterModel(tokenizer.characters).bits("\u0530"))


@given(st.lists(st.text() | st.text("the cat\u0301é龘ж ︎\x85\u200b\n\t½ﬁ①~\x1f"), max_size=3))
def test_unknown_pieces_cost_what_sentencepiece_says_they_are(texts):
    for tokenizer in (PLAIN, BPE):
        spelling = CharacterModel(tokenizer.characters)
        for text, encoded in zip(texts, tokenizer.encode(texts), strict=True):
            stretches = replace_lone_surrogates(text).split("\x1f")
            several = len(stretches) > 1
            numbered = [x for n, one in enumerate(stretches, 1) for x in ((str(n), one) if several else (one,))]
            pieces = [piece for one in numbered for piece in tokenizer._pieces.encode_as_proto(one).pieces]
            unknown = [piece.piece for piece in pieces if piece.id == tokenizer.unk_id]
            assert encoded.unknown == len(unknown)
            assert encoded.unknown_bits == pytest.approx(sum(map(spelling.bits, unknown)))


def test_character_counts_are_those_of_the_normalised_sample():
    words = Counter("".join("".join(PLAIN.normalize(text).split()) for text in TEXTS))
    assert {character: PLAIN.characters[character] for character in words} == words
    assert set(PLAIN.characters) == {*words, END}
    assert PLAIN.characters[END] == sum(len(PLAIN.normalize(text).split()) for text in TEXTS)
    assert "ｗ" not in PLAIN.characters


def test_the_model_is_the_same_in_any_order_and_other_with_another_seed():
    small = recipe(model_type="bpe", sample_characters=700, vocab_size=145)
    texts = [f"{text} {n}" for n, text in enumerate(TEXTS)]
    model = train_subword(texts, small).model
    assert train_subword(texts[::-1], small).model == model
    assert train_subword(texts, small.model_copy(update={"seed": 1})).model != model


def test_the_model_has_the_same_bytes_in_another_process_and_folder(tmp_path):
    arguments = [sys.executable, "-c", TRAIN_ELSEWHERE, recipe().model_dump_json(), json.dumps(TEXTS)]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest_bytes(PLAIN.model)
    assert str(tmp_path).encode() not in PLAIN.model


def test_no_long_line_is_skipped():
    # SentencePiece leaves out a line of over 4,192 bytes: then ж would have no piece.
    line = "the cat sat. " * 500 + "ж"
    tokenizer = train_subword([line], recipe(vocab_size=15))
    assert tokenizer.encode(["ж"])[0].unknown == 0


@pytest.mark.parametrize(
    ("texts", "values", "message"),
    [
        (TEXTS, {"vocab_size": 50_000}, r"no more than \d+ pieces.*vocab_size = 50000.*set vocab_size to at most \d+"),
        (TEXTS, {"vocab_size": 50_000, "model_type": "bpe"}, r"no more than \d+ pieces"),
        (TEXTS, {"vocab_size": 20}, r"characters of the text alone need \d+ pieces.*set vocab_size to more than"),
        ([], {}, "there is no text"),
        (["", " \n\t"], {}, "there is no text"),
        (["\u200b\ufeff"], {}, "empty once normalised"),
    ],
)
def test_what_cannot_be_trained_is_a_sentence(texts, values, message):
    with pytest.raises(DataError, match=message):
        train_subword(texts, recipe(**values))


def test_the_size_that_the_error_advises_works():
    with pytest.raises(DataError) as caught:
        train_subword(TEXTS, recipe(vocab_size=50_000))
    most = int(caught.value.do.split("at most ")[1].split(",")[0])
    assert train_subword(TEXTS, recipe(vocab_size=most)).vocab_size == most
    with pytest.raises(DataError) as caught:
        train_subword(TEXTS, recipe(vocab_size=20))
    least = int(caught.value.do.split("more than ")[1].split(",")[0])
    assert train_subword(TEXTS, recipe(vocab_size=least + 1)).vocab_size == least + 1


def test_the_fingerprint_follows_the_model():
    assert len({PLAIN.fingerprint, BYTES.fingerprint, BPE.fingerprint}) == 3
    assert SubwordTokenizer(PLAIN.recipe, PLAIN.model, {}).fingerprint == PLAIN.fingerprint


def test_a_lone_surrogate_is_encoded():
    assert BYTES.decode(BYTES.encode(["a \ud83d b"])[0].ids) == BYTES.normalize("a \ufffd b")
