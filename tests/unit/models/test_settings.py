"""Encoder settings: which class plain values become, what drop_mult touches, sizes that make the tie possible."""

from __future__ import annotations

from typing import Any

import pytest

from ulmfit_dist.config import Settings, parse_settings
from ulmfit_dist.errors import RecipeError
from ulmfit_dist.files import fingerprint
from ulmfit_dist.models.settings import AWDLSTMSettings, EncoderSettings, QRNNSettings


class _Recipe(Settings):
    model: EncoderSettings = AWDLSTMSettings()


@pytest.mark.parametrize("kind", [AWDLSTMSettings, QRNNSettings])
def test_scaled_multiplies_every_dropout_and_nothing_else(kind: type[EncoderSettings]) -> None:
    dropouts = {"output": 0.1, "hidden": 0.15, "input": 0.25, "embedding": 0.02, "weight": 0.2}
    named = {f"{name}_dropout": value for name, value in dropouts.items()}
    settings = kind(embedding_size=8, hidden_size=12, num_layers=2, **named)
    scaled = settings.scaled(0.5)
    assert type(scaled) is kind
    assert scaled.output_dropout == 0.05
    assert scaled.hidden_dropout == 0.075
    assert scaled.input_dropout == 0.125
    assert scaled.embedding_dropout == 0.01
    assert scaled.weight_dropout == 0.1
    names = ("embedding_size", "hidden_size", "num_layers", "decoder_bias")
    assert [getattr(scaled, name) for name in names] == [8, 12, 2, True]


def test_last_layer_gives_the_embedding_size() -> None:
    assert AWDLSTMSettings().layer_sizes() == [(400, 1150), (1150, 1150), (1150, 400)]
    assert AWDLSTMSettings(embedding_size=8, num_layers=1).layer_sizes() == [(8, 8)]
    assert QRNNSettings().layer_sizes() == [(400, 1550), (1550, 1550), (1550, 1550), (1550, 400)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [({}, AWDLSTMSettings), ({"encoder": "awd_lstm"}, AWDLSTMSettings), ({"encoder": "qrnn"}, QRNNSettings)],
)
def test_plain_values_become_the_encoder_they_name(values: dict[str, Any], kind: type[EncoderSettings]) -> None:
    model = _Recipe.model_validate({"model": {**values, "num_layers": 2}}).model
    assert type(model) is kind
    assert (model.num_layers, model.hidden_size) == (2, kind().hidden_size)
    assert _Recipe.model_validate(_Recipe(model=model).model_dump()).model == model
    assert _Recipe.model_validate_json(_Recipe(model=model).model_dump_json()).model == model


def test_fingerprints_from_before_there_was_another_encoder_hold() -> None:
    before = {
        "embedding_size": 400,
        "hidden_size": 1150,
        "num_layers": 3,
        "decoder_bias": True,
        "output_dropout": 0.1,
        "hidden_dropout": 0.15,
        "input_dropout": 0.25,
        "embedding_dropout": 0.02,
        "weight_dropout": 0.2,
    }
    assert fingerprint(_Recipe().semantic()) == fingerprint({"model": before})
    same_sizes = QRNNSettings.model_validate({**before, "encoder": "qrnn"})
    assert fingerprint(_Recipe(model=same_sizes).semantic()) != fingerprint({"model": before})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": "gru"}, "encoder is 'gru', and the encoders are awd_lstm, qrnn"),
        ({"encoder": "qrnn", "hiden_size": 3}, "unknown key 'model.hiden_size'"),
        ({"encoder": "qrnn", "num_layers": 0}, "model.num_layers in r.toml"),
    ],
)
def test_mistakes_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_settings(_Recipe, {"model": values}, "r.toml")
    assert message in str(caught.value)
