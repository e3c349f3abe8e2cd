"""The tokenizer folder: round trip, damage, other libraries."""

from __future__ import annotations

import json

import pytest
from spacy.attrs import ORTH

from ulmfit_dist.errors import DigestError, InputError
from ulmfit_dist.tokenization import spacy_words, word
from ulmfit_dist.tokenization.recipe import SubwordRecipe, WordRecipe
from ulmfit_dist.tokenization.subword import train_subword
from ulmfit_dist.tokenization.tokenizer import load_tokenizer
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words

TEXTS = ["The cat sat on the mat", "the dog & the CAT\nsat", "кот сидел"] * 3


def make(unit):
    if unit == "subword":
        return train_subword(TEXTS, SubwordRecipe(language="en", vocab_size=30, character_coverage=1.0))
    recipe = WordRecipe(min_freq=1)
    return word.WordTokenizer(recipe, build_vocabulary(count_words(TEXTS, word.WordSplitter(recipe)), recipe))


@pytest.fixture(params=["word", "subword"])
def saved(request, tmp_path):
    tokenizer = make(request.param)
    tokenizer.save(tmp_path / "tokenizer")
    return tokenizer, tmp_path / "tokenizer"


def test_round_trip(saved):
    tokenizer, folder = saved
    loaded = load_tokenizer(folder)
    texts = [*TEXTS, "", "an unknown wörd 龘"]
    for one, other in zip(tokenizer.encode(texts), loaded.encode(texts), strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert one[1:] == other[1:]
    for name in ("unit", "name", "vocab_size", "unk_id", "pad_id", "bos_id", "fingerprint"):
        assert getattr(loaded, name) == getattr(tokenizer, name)
    assert len(loaded.fingerprint) == 32


def test_saving_again_writes_the_same_bytes(saved, tmp_path):
    _, folder = saved
    load_tokenizer(folder).save(tmp_path / "again")
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    assert all((folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_a_changed_or_missing_file_is_named(saved):
    _, folder = saved
    for name in json.loads((folder / "tokenizer.json").read_text())["files"]:
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(good[:-1] + b"?")
        with pytest.raises(DigestError, match=name):
            load_tokenizer(folder)
        (folder / name).unlink()
        with pytest.raises(DigestError, match="no file"):
            load_tokenizer(folder)
        (folder / name).write_bytes(good)
    load_tokenizer(folder)


@pytest.mark.parametrize("content", [None, b"{}", b"no json", b"[1]", b'{"format": 99}', b"\xff"])
def test_no_tokenizer_folder_is_an_input_error(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_tokenizer(tmp_path)
    assert caught.value.exit_code == 2


def test_other_rules_of_spacy_than_those_it_was_made_with_are_refused(tmp_path, monkeypatch):
    make("word").save(tmp_path)
    start = spacy_words.SpacyWords._start

    def changed(self):
        start(self)
        self._tokenizer.add_special_case("gonnae", [{ORTH: "gon"}, {ORTH: "nae"}])

    monkeypatch.setattr(spacy_words.SpacyWords, "_start", changed)
    with pytest.raises(InputError, match="install spacy=="):
        load_tokenizer(tmp_path)
