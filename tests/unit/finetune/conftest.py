"""A tiny task and tiny untrained language models, made once for all tests here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import Document, document_id, write_documents
from ulmfit_dist.events import Silent
from ulmfit_dist.finetune.classifier import TrainClassifierSettings, train_classifier
from ulmfit_dist.finetune.ensemble import EnsembleSettings, make_ensemble
from ulmfit_dist.finetune.lm import FinetuneLMSettings, finetune_lm
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.folder import save_language_model
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.recipe import SubwordRecipe, WordRecipe
from ulmfit_dist.tokenization.subword import train_subword
from ulmfit_dist.tokenization.tokenizer import Tokenizer
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer
from ulmfit_dist.training.classifier import ClassifierTrainingSettings
from ulmfit_dist.training.lm import LMTrainingSettings

SUBJECTS = ("the film", "this movie", "her acting", "the plot", "every scene", "his music")
PRAISE = ("is great fun", "was a joy", "is warm and clever", "was lovely")
BLAME = ("is a dull mess", "was awful", "is slow and stupid", "was painful")
LM = LMTrainingSettings(epochs=1, frozen_epochs=0, num_lanes=4, bptt=10, valid_lanes=2, device="cpu")
TRAINING = ClassifierTrainingSettings(batch_size=8, layer_ratio=1.0, device="cpu", log_points=10)
CLASSIFIER = TrainClassifierSettings(epochs=16, drop_mult=0.1, training=TRAINING)  # 0.92 or better with 4 seeds
SIZES = AWDLSTMSettings(embedding_size=12, hidden_size=16, num_layers=2)


def task_documents(split: str, count: int, seed: int) -> list[Document]:
    """Sentences that a few words decide: `pos` praises, `neg` blames."""
    rng = np.random.default_rng(seed)
    documents = []
    for i in range(count):
        label = ("neg", "pos")[i % 2]
        endings = PRAISE if label == "pos" else BLAME
        parts = [f"{rng.choice(SUBJECTS)} {rng.choice(endings)}" for _ in range(1 + i % 3)]
        documents.append(Document(document_id(split, str(i)), " and ".join(parts) + " .", label=label))
    return documents


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Document folders train (40), valid (12) and test (12)."""
    root = tmp_path_factory.mktemp("task")
    for seed, (split, count) in enumerate((("train", 40), ("valid", 12), ("test", 12))):
        write_documents(root / split, task_documents(split, count, seed), 800)
    return root


def save_tiny(folder: Path, tokenizer: Tokenizer, direction: str, seed: int) -> Path:
    """Write an untrained language model with that tokenizer."""
    model = LanguageModel(tokenizer.vocab_size, SIZES, tokenizer.pad_id, seed=seed)
    assert model.decoder_bias is not None
    torch.nn.init.normal_(model.decoder_bias, generator=torch.Generator().manual_seed(seed))
    config = ModelConfig(kind="language_model", unit=tokenizer.unit, direction=direction)
    save_language_model(folder, model, tokenizer, config)
    return folder


@pytest.fixture(scope="session")
def word_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A forward word model that knows some of the task's words and some others."""
    recipe = WordRecipe(max_vocab=200, min_freq=1)
    counts = count_words(["the film was great and the weather was awful , a joy to see"], WordSplitter(recipe))
    tokenizer = WordTokenizer(recipe, build_vocabulary(counts, recipe))
    return save_tiny(tmp_path_factory.mktemp("lm") / "word", tokenizer, "forward", 1)


@pytest.fixture(scope="session")
def subword_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backward subword model."""
    texts = [document.text for document in task_documents("corpus", 60, 9)]
    tokenizer = train_subword(texts, SubwordRecipe(language="en", vocab_size=40, character_coverage=1.0))
    return save_tiny(tmp_path_factory.mktemp("lm") / "subword", tokenizer, "backward", 2)


def call(settings: Settings, out: Path, **inputs: Path) -> StageCall[Any]:
    return StageCall(settings, inputs, out, Silent())


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory, word_model: Path, subword_model: Path, task: Path) -> Path:
    """Two fine-tuned language models and the classifiers on them: word-forward/ and subword-backward/."""
    root = tmp_path_factory.mktemp("members")
    for name, model in (("word-forward", word_model), ("subword-backward", subword_model)):
        splits = {"train": task / "train", "valid": task / "valid"}
        tuned = root / f"lm-{name}"
        finetune_lm(call(FinetuneLMSettings(min_freq=1, training=LM), tuned, model=model, **splits))
        train_classifier(call(CLASSIFIER, root / name, model=tuned / "model", **splits))
    return root


@pytest.fixture(scope="session")
def ensemble(members: Path, task: Path) -> Path:
    inputs = {f"member-{name}": members / name / "model" for name in ("word-forward", "subword-backward")}
    make_ensemble(call(EnsembleSettings(), members / "stage", valid=task / "valid", **inputs))
    return members / "stage" / "ensemble"
