"""Fine-tuning a tiny language model: the rows it starts from, what it reads, and that it comes back the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from ulmfit_dist.corpus.documents import read_documents
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.events import Silent
from ulmfit_dist.finetune import lm
from ulmfit_dist.finetune.labelled import read_training_documents
from ulmfit_dist.finetune.lm import FinetuneLMSettings, finetune_lm, layer_factors
from ulmfit_dist.finetune.subsets import SubsetSettings, smaller_part
from ulmfit_dist.modelfolder.folder import load_language_model
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.tokenization.special import SPECIALS
from ulmfit_dist.tokenization.word import WordTokenizer
from ulmfit_dist.training.lm import LMTrainingSettings

TRAINING = LMTrainingSettings(epochs=1, frozen_epochs=1, num_lanes=4, bptt=10, lr=0.01, valid_lanes=2, device="cpu")
SETTINGS = FinetuneLMSettings(min_freq=2, max_vocab=60, drop_mult=0.5, training=TRAINING)


def run(model: Path, task: Path, out: Path, settings: FinetuneLMSettings = SETTINGS, **inputs: Path) -> Summary:
    inputs = {"model": model, "train": task / "train", "valid": task / "valid"} | inputs
    return finetune_lm(StageCall(settings, inputs, out, Silent()))


def test_a_word_model_starts_from_remapped_rows(
    word_model: Path, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    train = lm.train_lm

    def spy(model: LanguageModel, *args: object) -> object:
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        assert model.encoder.settings.weight_dropout == pytest.approx(0.1)
        return train(model, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(lm, "train_lm", spy)
    summary = run(word_model, task, tmp_path)
    old_model, old_tokenizer, _ = load_language_model(word_model)
    new_model, new_tokenizer, config = load_language_model(tmp_path / "model")
    assert isinstance(old_tokenizer, WordTokenizer)
    assert isinstance(new_tokenizer, WordTokenizer)
    old, new = old_tokenizer.vocabulary, new_tokenizer.vocabulary
    assert "weather" not in new.stoi
    assert "movie" not in old.stoi
    start = seen[0]
    for name, rows in (("encoder.embedding", old_model.encoder.embedding), ("decoder_bias", old_model.decoder_bias)):
        assert rows is not None
        assert torch.equal(start[name][new.stoi["film"]], rows[old.stoi["film"]])
        assert torch.allclose(start[name][new.stoi["movie"]], rows.mean(0))
    assert torch.equal(start["encoder.rnns.0.weight_hh"], old_model.state_dict()["encoder.rnns.0.weight_hh"])
    assert not torch.equal(new_model.encoder.embedding, start["encoder.embedding"])
    counts = Counter(t for d in read_documents(task / "train") for t in new_tokenizer.tokens(d.text))
    assert set(new.itos[10:]) == {word for word, n in counts.items() if n >= 2 and word != "xxbos"}
    words = {word: n for word, n in counts.items() if word not in SPECIALS}
    known = sum(n for word, n in words.items() if word in old.stoi and word in new.stoi)
    assert summary["metrics"]["coverage"]["token_share"] == pytest.approx(known / sum(words.values()))
    assert config.training["metrics"]["perplexity"] == summary["metrics"]["perplexity"] > 1


def test_streams_hold_the_given_splits_and_nothing_else(word_model: Path, task: Path, tmp_path: Path) -> None:
    run(word_model, task, tmp_path, unlabelled=task / "valid")
    stream = TokenStream.open(tmp_path / "tokens" / "train")
    expected = [d.id for split in ("train", "valid") for d in read_documents(task / split)]
    assert [stream.document_id(i) for i in range(stream.num_documents)] == expected
    assert TokenStream.open(tmp_path / "tokens" / "valid").num_documents == 12


def test_a_test_text_that_is_read_is_recorded(word_model: Path, task: Path, tmp_path: Path) -> None:
    run(word_model, task, tmp_path, test=task / "test")
    stream = TokenStream.open(tmp_path / "tokens" / "train")
    expected = [d.id for split in ("train", "test") for d in read_documents(task / split)]
    assert [stream.document_id(i) for i in range(stream.num_documents)] == expected
    _, _, config = load_language_model(tmp_path / "model")
    assert set(config.training["documents"]) == {"train", "valid", "test"}


def test_a_part_is_the_classifiers_own(word_model: Path, task: Path, tmp_path: Path) -> None:
    training = TRAINING.model_copy(update={"num_lanes": 2})
    settings = SETTINGS.model_copy(update={"subset": SubsetSettings(size=14, seed=3), "training": training})
    run(word_model, task, tmp_path, settings)
    part = smaller_part(read_training_documents(task / "train"), 14, 3)
    stream = TokenStream.open(tmp_path / "tokens" / "train")
    assert [stream.document_id(i) for i in range(stream.num_documents)] == list(part.ids)
    words = {word for text in part.texts for word in text.split()}
    _, tokenizer, _ = load_language_model(tmp_path / "model")
    assert isinstance(tokenizer, WordTokenizer)
    assert set(tokenizer.vocabulary.itos[10:]) <= words


def test_without_an_epoch_the_model_is_carried_over_and_no_more(word_model: Path, task: Path, tmp_path: Path) -> None:
    training = TRAINING.model_copy(update={"epochs": 0, "frozen_epochs": 0})
    summary = run(word_model, task, tmp_path, SETTINGS.model_copy(update={"training": training}))
    old, old_tokenizer, _ = load_language_model(word_model)
    new, tokenizer, _ = load_language_model(tmp_path / "model")
    rows = [one.vocabulary.stoi["film"] for one in (old_tokenizer, tokenizer)]  # type: ignore[union-attr]
    assert torch.equal(old.encoder.embedding[rows[0]], new.encoder.embedding[rows[1]])
    assert summary["metrics"]["steps"] == 0
    assert summary["metrics"]["perplexity"] > 1


def test_a_subword_model_keeps_its_vocabulary_and_direction(subword_model: Path, task: Path, tmp_path: Path) -> None:
    summary = run(subword_model, task, tmp_path)
    _, before, _ = load_language_model(subword_model)
    _, after, config = load_language_model(tmp_path / "model")
    assert after.fingerprint == before.fingerprint
    assert config.direction == "backward"
    assert summary["metrics"]["coverage"] is None
    assert (tmp_path / "curves.json").is_file()
    assert not (tmp_path / "checkpoints").exists()


def test_same_call_same_weights(subword_model: Path, task: Path, tmp_path: Path) -> None:
    run(subword_model, task, tmp_path / "a")
    run(subword_model, task, tmp_path / "b")
    files = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def test_factors_of_2018_and_of_the_paper() -> None:
    assert layer_factors("2018", 4) == pytest.approx([1 / 6, 1 / 3, 1, 1 / 2])
    assert layer_factors("2018", 5) == pytest.approx([1 / 12, 1 / 6, 1 / 3, 1, 1 / 2])
    assert layer_factors("paper", 3) == pytest.approx([1 / 2.6**2, 1 / 2.6, 1])
