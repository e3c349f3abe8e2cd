"""Two small tokenizers of equal size, and a language model for the first."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from ulmfit_dist.models.language_model import LanguageModel
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


@pytest.fixture(scope="session")
def published() -> ModuleType:
    """published.py: a writer of the field's files, independent of the package."""
    path = Path(__file__).with_name("published.py")
    spec = importlib.util.spec_from_file_location("published", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
