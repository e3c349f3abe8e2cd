"""Export language models for fastai 2: weights under its names, and the vocabulary as the pickle that it reads."""

from __future__ import annotations

import io
import pickle  # written only: fastai reads no other vocabulary
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ulmfit_dist.errors import InputError
from ulmfit_dist.files import write_bytes
from ulmfit_dist.modelfolder.folder import load_language_model
from ulmfit_dist.modelfolder.itos import renamed
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.tokenization.word import WordTokenizer

MODEL_NAME, ENCODER_NAME, ITOS_NAME = "lm.pth", "encoder.pth", "itos.pkl"
_LAYER = (
    ("weight_hh_l0_raw", "weight_hh"),
    ("module.weight_ih_l0", "weight_ih"),
    ("module.bias_ih_l0", "bias_ih"),
    ("module.bias_hh_l0", "bias_hh"),
)


def export_weights(folder: Path, out: Path) -> dict[str, Any]:
    """Write a language model of words for fastai 2; return the files' names and the sizes that fastai must be told.

    `lm.pth` and `itos.pkl` are its `pretrained_fnames`, `encoder.pth` is for `load_encoder`. Special tokens get
    fastai's names in their places (`xxnl` is its new line); a decoder without bias gets one of zeros.
    Raises InputError for a folder that holds no language model of words, or one of layers that fastai 2 has not.
    """
    model, tokenizer, _ = load_language_model(folder)
    if not isinstance(tokenizer, WordTokenizer):
        raise InputError(
            f"{folder} cannot be exported for fastai",
            found=f"a model of the {tokenizer.unit} unit",
            do="export a model of words",
        )
    if model.encoder.settings.encoder != "awd_lstm":
        raise InputError(
            f"{folder} cannot be exported for fastai",
            found=f"an encoder of the kind {model.encoder.settings.encoder}",
            do="export an AWD-LSTM: fastai 2 has no other",
        )
    encoder = _encoder(model)
    bias = torch.zeros(model.encoder.vocab_size) if model.decoder_bias is None else model.decoder_bias.detach()
    whole = {f"0.{name}": tensor for name, tensor in encoder.items()}
    whole |= {"1.decoder.weight": encoder["encoder.weight"], "1.decoder.bias": bias}
    write_bytes(out / ENCODER_NAME, _saved(encoder))
    write_bytes(out / MODEL_NAME, _saved(whole))
    tokens = renamed(tokenizer.vocabulary.itos, tokenizer.recipe.rules, "fastai-2")
    write_bytes(out / ITOS_NAME, pickle.dumps(tokens, protocol=4))
    sizes = model.encoder.settings
    return {
        "files": [MODEL_NAME, ENCODER_NAME, ITOS_NAME],
        "config": {"emb_sz": sizes.embedding_size, "n_hid": sizes.hidden_size, "n_layers": sizes.num_layers},
        "vocab_size": model.encoder.vocab_size,
    }


def _encoder(model: LanguageModel) -> dict[str, Tensor]:
    """Return the encoder's tensors in the order of fastai's own state dict, which it reads by position."""
    state = model.encoder.state_dict()
    out = {"encoder.weight": state["embedding"], "encoder_dp.emb.weight": state["embedding"]}
    for index in range(model.encoder.settings.num_layers):
        out |= {f"rnns.{index}.{theirs}": state[f"rnns.{index}.{ours}"] for theirs, ours in _LAYER}
    return out


def _saved(tensors: dict[str, Tensor]) -> bytes:
    # Into memory: in a file, torch writes the file's temporary name into the archive.
    buffer = io.BytesIO()
    torch.save(OrderedDict(tensors), buffer)
    return buffer.getvalue()
