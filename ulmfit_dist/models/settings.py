"""Sizes and dropouts of the encoders; the field `encoder` says which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from ulmfit_dist.config import Settings

# MultiFiT (fastai 1, `AWD_LSTM(qrnn=True)`): each gate of the first layer sees the token and the one before.
_FIRST_WINDOW = 2
_DROPOUTS = ("output_dropout", "hidden_dropout", "input_dropout", "embedding_dropout", "weight_dropout")


class EncoderSettings(Settings, ABC):
    """What all encoders share. Plain values become the class that `encoder` names, awd_lstm where they name none."""

    encoder: str = Field(default="awd_lstm", description="awd_lstm, or qrnn: MultiFiT's quasi-recurrent layers")
    embedding_size: int = Field(
        default=400, ge=1, description="size of a token's vector, and of the last layer's output"
    )
    hidden_size: int = Field(default=1150, ge=1, description="units of each layer but the last")
    num_layers: int = Field(default=3, ge=1, description="number of recurrent layers")
    decoder_bias: bool = Field(default=True, description="whether the decoder has a bias (public 2018 weights: no)")
    output_dropout: float = Field(default=0.1, ge=0, lt=1, description="locked dropout on the last layer's output")
    hidden_dropout: float = Field(default=0.15, ge=0, lt=1, description="locked dropout between layers")
    input_dropout: float = Field(default=0.25, ge=0, lt=1, description="locked dropout on the embedded tokens")
    embedding_dropout: float = Field(
        default=0.02, ge=0, lt=1, description="share of the vocabulary dropped in a window"
    )
    weight_dropout: float = Field(
        default=0.2, ge=0, lt=1, description="dropout on the recurrent weights (qrnn: the gates'), once a window"
    )

    @model_validator(mode="wrap")
    @classmethod
    def _as_encoder(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> EncoderSettings:
        if cls is not EncoderSettings or not isinstance(values, dict):
            return handler(values)
        name = str(values.get("encoder", "awd_lstm"))
        if name not in _CLASSES:
            msg = f"encoder is {name!r}, and the encoders are {', '.join(_CLASSES)}"
            raise ValueError(msg)
        return _CLASSES[name].model_validate(values)

    def scaled(self, drop_mult: float) -> Self:
        """Return the same sizes with every dropout multiplied (fastai's `drop_mult`)."""
        return type(self).model_validate(
            {**self.model_dump(), **{name: getattr(self, name) * drop_mult for name in _DROPOUTS}}
        )

    def layer_sizes(self) -> list[tuple[int, int]]:
        """Return (input size, output size) of each layer; the last gives the embedding size, for the tie."""
        inputs = [self.embedding_size] + [self.hidden_size] * (self.num_layers - 1)
        return list(zip(inputs, [*inputs[1:], self.embedding_size], strict=True))

    @abstractmethod
    def layer_weights(self) -> int:
        """Return how many weights the layers' matrices have: a token costs two operations for each."""


class AWDLSTMSettings(EncoderSettings):
    """Sizes of the paper (section 4.1); dropouts of the ancestors' language model, for `drop_mult` 1."""

    encoder: Literal["awd_lstm"] = "awd_lstm"

    def semantic(self) -> dict[str, Any]:
        """Leave `encoder` out: fingerprints from before there was another encoder stay what they are."""
        return {name: value for name, value in super().semantic().items() if name != "encoder"}

    def layer_weights(self) -> int:
        """Return the weights of four gates over the input and the layer's own last output."""
        return sum(4 * outputs * (inputs + outputs) for inputs, outputs in self.layer_sizes())


class QRNNSettings(EncoderSettings):
    """Sizes and dropouts of MultiFiT's language model (Eisenschlos et al. 2019), for `drop_mult` 1."""

    encoder: Literal["qrnn"] = "qrnn"
    hidden_size: int = Field(default=1550, ge=1)
    num_layers: int = Field(default=4, ge=1)
    output_dropout: float = Field(default=0.25, ge=0, lt=1)
    hidden_dropout: float = Field(default=0.1, ge=0, lt=1)
    input_dropout: float = Field(default=0.2, ge=0, lt=1)
    weight_dropout: float = Field(default=0.15, ge=0, lt=1)

    def windows(self) -> list[int]:
        """Return how many tokens the gates of each layer see: two in the first, one above."""
        return [_FIRST_WINDOW] + [1] * (self.num_layers - 1)

    def layer_weights(self) -> int:
        """Return the weights of three gates over the layer's window of inputs."""
        sizes = zip(self.layer_sizes(), self.windows(), strict=True)
        return sum(3 * outputs * inputs * window for (inputs, outputs), window in sizes)


_CLASSES: Final[dict[str, type[EncoderSettings]]] = {"awd_lstm": AWDLSTMSettings, "qrnn": QRNNSettings}
