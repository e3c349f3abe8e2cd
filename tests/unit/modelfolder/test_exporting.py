"""Exported files have the names, order and shapes of fastai 2's own, and come back as they were."""

from __future__ import annotations

import pickle

import pytest
import torch

from ulmfit_dist.errors import InputError
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.modelfolder.exporting import export_weights
from ulmfit_dist.modelfolder.folder import load_language_model, save_language_model
from ulmfit_dist.modelfolder.importing import ImportSettings, import_weights
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings, QRNNSettings
from ulmfit_dist.tokenization.recipe import SubwordRecipe
from ulmfit_dist.tokenization.special import SPECIALS
from ulmfit_dist.tokenization.subword import train_subword

# What AWD_LSTM(V, 5, 6, 2) of fastai 2.8.12 names its weights, in the order of its state dict.
ENCODER = {
    "encoder.weight": ("V", 5),
    "encoder_dp.emb.weight": ("V", 5),
    "rnns.0.weight_hh_l0_raw": (24, 6),
    "rnns.0.module.weight_ih_l0": (24, 5),
    "rnns.0.module.bias_ih_l0": (24,),
    "rnns.0.module.bias_hh_l0": (24,),
    "rnns.1.weight_hh_l0_raw": (20, 5),
    "rnns.1.module.weight_ih_l0": (20, 6),
    "rnns.1.module.bias_ih_l0": (20,),
    "rnns.1.module.bias_hh_l0": (20,),
}
WHOLE = {f"0.{name}": shape for name, shape in ENCODER.items()} | {
    "1.decoder.weight": ("V", 5),
    "1.decoder.bias": ("V",),
}


@pytest.fixture
def folder(tmp_path, model, tokenizer):
    with torch.no_grad():
        model.decoder_bias.normal_(generator=torch.Generator().manual_seed(3))
    save_language_model(
        tmp_path / "model", model, tokenizer, ModelConfig(kind="language_model", unit="word", direction="forward")
    )
    return tmp_path / "model"


def test_names_order_and_shapes_are_fastais(folder, tokenizer, tmp_path):
    summary = export_weights(folder, tmp_path / "out")
    assert summary["files"] == ["lm.pth", "encoder.pth", "itos.pkl"]
    assert summary["config"] == {"emb_sz": 5, "n_hid": 6, "n_layers": 2}
    for name, wanted in (("lm.pth", WHOLE), ("encoder.pth", ENCODER)):
        state = torch.load(tmp_path / "out" / name, weights_only=True)
        assert list(state) == list(wanted)
        for key, shape in wanted.items():
            assert state[key].shape == tuple(tokenizer.vocab_size if size == "V" else size for size in shape)
            assert state[key].dtype == torch.float32


def test_values_stand_under_their_names(folder, model, tmp_path):
    export_weights(folder, tmp_path / "out")
    state = torch.load(tmp_path / "out" / "lm.pth", weights_only=True)
    layer = model.encoder.rnns[1]
    assert torch.equal(state["0.rnns.1.weight_hh_l0_raw"], layer.weight_hh)
    assert torch.equal(state["0.rnns.1.module.weight_ih_l0"], layer.weight_ih)
    assert torch.equal(state["0.rnns.1.module.bias_ih_l0"], layer.bias_ih)
    assert torch.equal(state["0.rnns.1.module.bias_hh_l0"], layer.bias_hh)
    assert torch.equal(state["1.decoder.weight"], model.encoder.embedding)
    assert torch.equal(state["1.decoder.bias"], model.decoder_bias)
    assert state["1.decoder.weight"].data_ptr() == state["0.encoder.weight"].data_ptr()  # stored once


def test_the_vocabulary_has_fastais_marks_in_our_order(folder, tokenizer, tmp_path):
    export_weights(folder, tmp_path / "out")
    tokens = pickle.loads((tmp_path / "out" / "itos.pkl").read_bytes())
    assert tokens == [*SPECIALS[:9], "\n", *tokenizer.vocabulary.itos[10:]]


def test_there_and_back_is_the_same_model(folder, model, tokenizer, tmp_path):
    out = tmp_path / "out"
    export_weights(folder, out)
    settings = ImportSettings(direction="forward", rules="ulmfit-1")
    summary = import_weights(out / "lm.pth", out / "itos.pkl", tmp_path / "back", settings)
    again, vocabulary, _ = load_language_model(tmp_path / "back")
    assert summary["mean_rows"] == []
    assert vocabulary.vocabulary.itos == tokenizer.vocabulary.itos
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_a_decoder_without_bias_gets_zeros(tokenizer, tmp_path):
    sizes = AWDLSTMSettings(embedding_size=5, hidden_size=6, num_layers=2, decoder_bias=False)
    model = LanguageModel(tokenizer.vocab_size, sizes, tokenizer.pad_id)
    config = ModelConfig(kind="language_model", unit="word", direction="backward")
    save_language_model(tmp_path / "model", model, tokenizer, config)
    export_weights(tmp_path / "model", tmp_path / "out")
    state = torch.load(tmp_path / "out" / "lm.pth", weights_only=True)
    assert list(state) == list(WHOLE)
    assert torch.equal(state["1.decoder.bias"], torch.zeros(tokenizer.vocab_size))


def test_equal_models_equal_files(folder, tmp_path):
    for name in ("a", "b"):
        export_weights(folder, tmp_path / name)
    for name in ("lm.pth", "encoder.pth", "itos.pkl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_model_of_subwords_is_refused(tmp_path):
    recipe = SubwordRecipe(language="en", vocab_size=24, character_coverage=1.0)
    tokenizer = train_subword(["a film was good and another film was bad"] * 9, recipe)
    model = LanguageModel(tokenizer.vocab_size, AWDLSTMSettings(embedding_size=5, hidden_size=6), tokenizer.pad_id)
    config = ModelConfig(kind="language_model", unit="subword", direction="forward")
    save_language_model(tmp_path / "model", model, tokenizer, config)
    with pytest.raises(InputError, match="subword"):
        export_weights(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_fastai_has_not_is_refused(tokenizer, tmp_path):
    model = LanguageModel(tokenizer.vocab_size, QRNNSettings(embedding_size=5, hidden_size=6), tokenizer.pad_id)
    config = ModelConfig(kind="language_model", unit="word", direction="forward")
    save_language_model(tmp_path / "model", model, tokenizer, config)
    with pytest.raises(InputError, match="an encoder of the kind qrnn"):
        export_weights(tmp_path / "model", tmp_path / "out")
