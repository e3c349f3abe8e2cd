"""Write and read model folders."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ulmfit_dist.errors import DigestError, InputError
from ulmfit_dist.files import digest_file, write_bytes, write_json
from ulmfit_dist.modelfolder.card import CARD_NAME, model_card
from ulmfit_dist.modelfolder.config import CONFIG_NAME, ModelConfig, read_config
from ulmfit_dist.models.classifier import TextClassifier
from ulmfit_dist.models.language_model import LanguageModel, make_encoder
from ulmfit_dist.models.targets import num_outputs
from ulmfit_dist.tokenization.tokenizer import Tokenizer, load_tokenizer

__all__ = [
    "ModelConfig",
    "load_classifier",
    "load_language_model",
    "save_classifier",
    "save_language_model",
    "weights_fingerprint",
]

WEIGHTS_NAME = "model.safetensors"
TOKENIZER_NAME = "tokenizer"
M = TypeVar("M", bound=nn.Module)


def save_language_model(folder: Path, model: LanguageModel, tokenizer: Tokenizer, config: ModelConfig) -> ModelConfig:
    """Write a language model; the tied weight is stored once. Return the config as written."""
    settled = config.model_copy(update={"kind": "language_model", "architecture": model.encoder.settings})
    return _save(folder, model, tokenizer, settled)


def save_classifier(folder: Path, model: TextClassifier, tokenizer: Tokenizer, config: ModelConfig) -> ModelConfig:
    """Write a classifier; `config.labels` name its classes in order. Return the config as written."""
    if num_outputs(config.target.kind, len(config.labels)) != model.num_classes:
        raise InputError("a classifier needs one label a class", found=f"{len(config.labels)} labels", do="name each")
    update = {"kind": "classifier", "architecture": model.encoder.settings, "classifier": model.settings}
    return _save(folder, model, tokenizer, config.model_copy(update=update))


def load_language_model(folder: Path) -> tuple[LanguageModel, Tokenizer, ModelConfig]:
    """Read a language model, in evaluation mode on the CPU.

    Raises InputError for a missing, foreign or ill-matched folder, DigestError for a damaged one.
    """
    config = read_config(folder, "language_model")
    weights = _weights(folder, config)
    tokenizer = _tokenizer(folder, config)
    model = LanguageModel(config.vocab_size, config.architecture, config.pad_id)
    return _filled(model, weights), tokenizer, config


def load_classifier(folder: Path) -> tuple[TextClassifier, Tokenizer, ModelConfig]:
    """Read a classifier, in evaluation mode on the CPU; errors as for a language model."""
    config = read_config(folder, "classifier")
    weights = _weights(folder, config)
    tokenizer = _tokenizer(folder, config)
    encoder = make_encoder(config.vocab_size, config.architecture, config.pad_id)
    model = TextClassifier(encoder, num_outputs(config.target.kind, len(config.labels)), config.classifier)
    return _filled(model, weights), tokenizer, config


def weights_fingerprint(model: nn.Module) -> str:
    """xxh3_128 over the names, shapes and values of a model's weights and buffers, 32 hex digits."""
    state = xxhash.xxh3_128()
    for name, tensor in sorted(model.state_dict().items()):
        state.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return str(state.hexdigest())


def _save(
    folder: Path, model: LanguageModel | TextClassifier, tokenizer: Tokenizer, config: ModelConfig
) -> ModelConfig:
    encoder = model.encoder
    if tokenizer.vocab_size != encoder.vocab_size:
        raise _foreign_vocabulary(folder, f"{tokenizer.vocab_size} tokens for {encoder.vocab_size} embedding rows")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / TOKENIZER_NAME)
    write_bytes(folder / WEIGHTS_NAME, save(_plain(model), metadata={"format": "pt"}))
    settled = config.model_copy(
        update={
            "tokenizer_fingerprint": tokenizer.fingerprint,
            "encoder_fingerprint": weights_fingerprint(encoder),
            "vocab_size": encoder.vocab_size,
            "pad_id": encoder.pad_id,
            "weights_digest": digest_file(folder / WEIGHTS_NAME),
        }
    )
    write_bytes(folder / CARD_NAME, model_card(settled).encode())
    # Last: a folder without config.json is not a model folder.
    write_json(folder / CONFIG_NAME, settled.model_dump(mode="json"))
    return settled


def _plain(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def _tokenizer(folder: Path, config: ModelConfig) -> Tokenizer:
    tokenizer = load_tokenizer(folder / TOKENIZER_NAME)
    if tokenizer.fingerprint != config.tokenizer_fingerprint:
        found = (
            f"tokenizer {tokenizer.fingerprint[:8]}, the encoder was trained with {config.tokenizer_fingerprint[:8]}"
        )
        raise _foreign_vocabulary(folder, found)
    return tokenizer


def _weights(folder: Path, config: ModelConfig) -> Path:
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise InputError(f"{folder} has no {WEIGHTS_NAME}", do="restore the file or train again")
    digest = digest_file(path)
    if digest != config.weights_digest:
        raise DigestError(
            f"{path} is not the file that {CONFIG_NAME} names",
            found=f"{digest}, expected {config.weights_digest}",
            do="copy the folder again from where it was made, or train again",
        )
    return path


def _filled(model: M, weights: Path) -> M:
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        what = f"the weights in {weights} do not fit {CONFIG_NAME}"
        raise DigestError(what, found=str(error), do="train again") from error
    return model.eval()


def _foreign_vocabulary(folder: Path, found: str) -> InputError:
    return InputError(
        f"this vocabulary does not belong to this encoder ({folder})",
        found=found,
        do="use the tokenizer that the encoder was trained with",
    )
