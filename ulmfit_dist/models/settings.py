"""Sizes and dropouts of an AWD-LSTM."""

from __future__ import annotations

from pydantic import Field

from ulmfit_dist.config import Settings

_DROPOUTS = ("output_dropout", "hidden_dropout", "input_dropout", "embedding_dropout", "weight_dropout")


class AWDLSTMSettings(Settings):
    """Sizes of the paper (section 4.1); dropouts of the ancestors' language model, for `drop_mult` 1."""

    embedding_size: int = Field(
        default=400, ge=1, description="size of a token's vector, and of the last layer's output"
    )
    hidden_size: int = Field(default=1150, ge=1, description="units of each LSTM layer but the last")
    num_layers: int = Field(default=3, ge=1, description="number of LSTM layers")
    decoder_bias: bool = Field(default=True, description="whether the decoder has a bias (public 2018 weights: no)")
    output_dropout: float = Field(default=0.1, ge=0, lt=1, description="locked dropout on the last layer's output")
    hidden_dropout: float = Field(default=0.15, ge=0, lt=1, description="locked dropout between layers")
    input_dropout: float = Field(default=0.25, ge=0, lt=1, description="locked dropout on the embedded tokens")
    embedding_dropout: float = Field(
        default=0.02, ge=0, lt=1, description="share of the vocabulary dropped in a window"
    )
    weight_dropout: float = Field(
        default=0.2, ge=0, lt=1, description="dropout on the recurrent weights, once a window"
    )

    def scaled(self, drop_mult: float) -> AWDLSTMSettings:
        """Return the same sizes with every dropout multiplied (fastai's `drop_mult`)."""
        return type(self).model_validate(
            {**self.model_dump(), **{name: getattr(self, name) * drop_mult for name in _DROPOUTS}}
        )

    def layer_sizes(self) -> list[tuple[int, int]]:
        """Return (input size, output size) of each LSTM layer; the last gives the embedding size, for the tie."""
        inputs = [self.embedding_size] + [self.hidden_size] * (self.num_layers - 1)
        return list(zip(inputs, [*inputs[1:], self.embedding_size], strict=True))
