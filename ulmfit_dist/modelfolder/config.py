"""config.json of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from ulmfit_dist.config import Settings
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import read_json
from ulmfit_dist.models.classifier import ClassifierSettings
from ulmfit_dist.models.settings import AWDLSTMSettings, EncoderSettings
from ulmfit_dist.models.targets import TargetConfig

CONFIG_NAME = "config.json"
LIBRARY: Final = "ulmfit_dist"


class ModelConfig(Settings):
    """What a model is and what belongs to it. The fields after `training` are filled in when the folder is written."""

    library: Literal["ulmfit_dist"] = LIBRARY
    format: Literal[1] = 1
    kind: Literal["language_model", "classifier"]
    unit: Literal["word", "subword"]
    direction: Literal["forward", "backward"]
    language: str = Field(default="", description="ISO 639 code of the text, empty when it is unknown")
    architecture: EncoderSettings = AWDLSTMSettings()
    classifier: ClassifierSettings | None = Field(default=None, description="head and pooling; a classifier's only")
    labels: list[str] = Field(default=[], description="class names in the order of the scores; a classifier's only")
    target: TargetConfig = Field(default=TargetConfig(), description="what the scores mean; a classifier's only")
    training: dict[str, Any] = Field(default={}, description="data digests, seeds, metrics: free JSON")
    tokenizer_fingerprint: str = ""
    encoder_fingerprint: str = Field(default="", description="xxh3_128 of the encoder's weights")
    vocab_size: int = Field(default=0, ge=0)
    pad_id: int = Field(default=1, ge=0)
    weights_digest: str = Field(default="", description="xxh3_128 of model.safetensors")


def read_config(folder: Path, kind: str) -> ModelConfig:
    """Read a folder's config.json.

    Raises InputError when the folder or the file is missing, is another library's, or is a model of another kind.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        found = "no such folder" if not folder.exists() else f"no {CONFIG_NAME} in it"
        raise InputError(f"{folder} is not a model folder", found=found, do="give a folder that a training stage wrote")
    try:
        values = read_json(path)
    except ValueError as error:
        raise InputError(f"{path} is not JSON", found=str(error), do="train again or restore the file") from error
    if not isinstance(values, dict) or values.get("library") != LIBRARY:
        keys = ", ".join(sorted(values)[:6]) if isinstance(values, dict) else type(values).__name__
        raise InputError(
            f"{path} is not a config of {LIBRARY}", found=f"keys {keys}", do=f"give a model folder written by {LIBRARY}"
        )
    return _checked(path, values, kind)


def _checked(path: Path, values: dict[str, Any], kind: str) -> ModelConfig:
    try:
        config = ModelConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path} does not describe a model that this version reads",
            found=f"{where}: {first['msg']}",
            do="read it with the version that wrote it, or train again",
        ) from error
    if config.kind != kind:
        wanted, found = kind.replace("_", " "), config.kind.replace("_", " ")
        raise InputError(f"{path.parent} is not a {wanted}", found=f"a {found}", do=f"give the folder of a {wanted}")
    return config
