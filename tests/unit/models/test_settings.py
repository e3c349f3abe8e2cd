"""AWD-LSTM settings: what drop_mult touches, and the sizes that make the tie possible."""

from __future__ import annotations

from ulmfit_dist.models.settings import AWDLSTMSettings


def test_scaled_multiplies_every_dropout_and_nothing_else() -> None:
    settings = AWDLSTMSettings(embedding_size=8, hidden_size=12, num_layers=2)
    scaled = settings.scaled(0.5)
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
