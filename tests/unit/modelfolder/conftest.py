"""Two small tokenizers of equal size, and a language model for the first."""

from __future__ import annotations

import pytest

from ulmfit_dist.models.awd_lstm import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.tokenizer import Tokenizer
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer


def _tokenizer(word: str) -> Tokenizer:
    recipe = WordRecipe(min_freq=1)
    return WordTokenizer(recipe, build_vocabulary(count_words([f"a {word} b"], WordSplitter(recipe)), recipe))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return _tokenizer("good")


@pytest.fixture(scope="session")
def other_tokenizer() -> Tokenizer:
    return _tokenizer("bad")


@pytest.fixture
def model(tokenizer: Tokenizer) -> LanguageModel:
    sizes = AWDLSTMSettings(embedding_size=5, hidden_size=6, num_layers=2)
    return LanguageModel(tokenizer.vocab_size, sizes, tokenizer.pad_id, seed=7)
