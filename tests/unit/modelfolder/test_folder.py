"""Model folders: what is saved comes back; what is damaged, foreign or ill-matched is refused with a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ulmfit_dist.errors import DigestError, InputError
from ulmfit_dist.files import digest_file, read_json, write_json
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.folder import (
    load_classifier,
    load_language_model,
    save_classifier,
    save_language_model,
    weights_fingerprint,
)
from ulmfit_dist.models.classifier import ClassifierSettings, TextClassifier
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.tokenization.tokenizer import Tokenizer

CONFIG = ModelConfig(kind="language_model", unit="word", direction="backward", training={"seed": 3})


def _saved(folder: Path, model: LanguageModel, tokenizer: Tokenizer) -> Path:
    save_language_model(folder, model, tokenizer, CONFIG)
    return folder


def _classifier(model: LanguageModel) -> TextClassifier:
    classifier = TextClassifier.from_language_model(model, 2, ClassifierSettings(head_hidden=4, max_length=9), seed=1)
    tokens = torch.randint(2, model.encoder.vocab_size, (5, 6), generator=torch.Generator().manual_seed(1))
    classifier.train()(tokens, tokens > 0)  # moves the running statistics of the head
    return classifier.eval()


def test_language_model_comes_back_bit_equal(tmp_path: Path, model: LanguageModel, tokenizer: Tokenizer) -> None:
    back, its_tokenizer, config = load_language_model(_saved(tmp_path / "m", model, tokenizer))
    assert back.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in back.state_dict().items())
    assert its_tokenizer.fingerprint == tokenizer.fingerprint == config.tokenizer_fingerprint
    assert (config.direction, config.training, config.kind) == ("backward", {"seed": 3}, "language_model")
    assert config.architecture == model.encoder.settings
    assert config.encoder_fingerprint == weights_fingerprint(back.encoder)
    assert not back.training


def test_tied_decoder_is_one_tensor_before_saving_in_the_file_and_after_loading(
    tmp_path: Path, model: LanguageModel, tokenizer: Tokenizer
) -> None:
    folder = _saved(tmp_path / "m", model, tokenizer)
    with safe_open(folder / "model.safetensors", "pt") as file:
        shapes = [tuple(file.get_tensor(name).shape) for name in file.keys()]  # noqa: SIM118 - no mapping
    assert shapes.count((tokenizer.vocab_size, 5)) == 1
    back, _, _ = load_language_model(folder)
    for one in (model, back):
        assert one.decoder_weight is one.encoder.embedding
        state = one.encoder.initial_state(1)
        token = torch.tensor([[3]])
        before = one(token, state).logits_TBV[0, 0, 4].item()
        with torch.no_grad():
            one.encoder.embedding[4] += 1.0
        assert one(token, state).logits_TBV[0, 0, 4].item() != before


def test_classifier_comes_back_with_its_head_and_labels(
    tmp_path: Path, model: LanguageModel, tokenizer: Tokenizer
) -> None:
    classifier = _classifier(model)
    config = ModelConfig(kind="classifier", unit="word", direction="forward", labels=["bad", "good"])
    save_classifier(tmp_path / "c", classifier, tokenizer, config)
    back, _, read = load_classifier(tmp_path / "c")
    assert read.labels == ["bad", "good"]
    assert back.settings == classifier.settings
    tokens = torch.randint(2, tokenizer.vocab_size, (12, 3), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(back(tokens, tokens > 0), classifier(tokens, tokens > 0))


def test_equal_models_are_equal_bytes(tmp_path: Path, model: LanguageModel, tokenizer: Tokenizer) -> None:
    one, two = (_saved(tmp_path / name, model, tokenizer) for name in ("one", "two"))
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    assert {"config.json", "model.safetensors", "README.md"} <= {path.name for path in files}
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)


def test_another_vocabulary_of_the_same_size_is_refused(
    tmp_path: Path, model: LanguageModel, tokenizer: Tokenizer, other_tokenizer: Tokenizer
) -> None:
    folder = _saved(tmp_path / "m", model, tokenizer)
    assert other_tokenizer.vocab_size == tokenizer.vocab_size
    shutil.rmtree(folder / "tokenizer")
    other_tokenizer.save(folder / "tokenizer")
    with pytest.raises(InputError, match="vocabulary does not belong to this encoder") as caught:
        load_language_model(folder)
    assert tokenizer.fingerprint[:8] in str(caught.value)
    assert other_tokenizer.fingerprint[:8] in str(caught.value)


def test_a_vocabulary_of_another_size_is_refused_when_saving(
    tmp_path: Path, model: LanguageModel, tokenizer: Tokenizer
) -> None:
    larger = LanguageModel(tokenizer.vocab_size + 1, model.encoder.settings, 1)
    with pytest.raises(InputError, match="vocabulary does not belong to this encoder"):
        save_language_model(tmp_path / "m", larger, tokenizer, CONFIG)
    assert not (tmp_path / "m").exists()


def test_every_flipped_byte_of_the_weights_is_noticed(
    tmp_path: Path, model: LanguageModel, tokenizer: Tokenizer
) -> None:
    folder = _saved(tmp_path / "m", model, tokenizer)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for position in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(DigestError, match=r"model\.safetensors"):
            load_language_model(folder)
    path.write_bytes(whole[:-1])
    with pytest.raises(DigestError):
        load_language_model(folder)


def test_weights_of_another_shape_are_refused(tmp_path: Path, model: LanguageModel, tokenizer: Tokenizer) -> None:
    folder = _saved(tmp_path / "m", model, tokenizer)
    save_file({"something": torch.ones(2)}, folder / "model.safetensors")
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {**config, "weights_digest": digest_file(folder / "model.safetensors")})
    with pytest.raises(DigestError, match="do not fit"):
        load_language_model(folder)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("config.json", "not a model folder"),
        ("model.safetensors", "has no model.safetensors"),
        ("tokenizer", "not a tokenizer folder"),
    ],
)
def test_a_missing_file_is_named(
    tmp_path: Path, model: LanguageModel, tokenizer: Tokenizer, name: str, match: str
) -> None:
    folder = _saved(tmp_path / "m", model, tokenizer)
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=match):
        load_language_model(folder)


def test_labels_must_be_one_a_class(tmp_path: Path, model: LanguageModel, tokenizer: Tokenizer) -> None:
    config = ModelConfig(kind="classifier", unit="word", direction="forward", labels=["one"])
    with pytest.raises(InputError, match="one label a class"):
        save_classifier(tmp_path / "c", _classifier(model), tokenizer, config)


def test_fingerprint_follows_names_shapes_and_values(model: LanguageModel) -> None:
    before = weights_fingerprint(model)
    assert before == weights_fingerprint(model)
    with torch.no_grad():
        model.encoder.rnns[0].bias_hh[0] += 1e-3
    assert before != weights_fingerprint(model)
    one, two = torch.nn.Linear(2, 3, bias=False), torch.nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        one.weight.fill_(1.0)
        two.weight.fill_(1.0)
    assert weights_fingerprint(one) != weights_fingerprint(two)
