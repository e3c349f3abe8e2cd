"""The language model: which encoder the settings make, the tie, the layer groups."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ulmfit_dist.models.awd_lstm import AWDLSTM
from ulmfit_dist.models.encoder import Encoder
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.qrnn import QRNN
from ulmfit_dist.models.settings import AWDLSTMSettings, EncoderSettings, QRNNSettings

VOCAB, PAD = 23, 1
SIZES = {"embedding_size": 6, "hidden_size": 9, "num_layers": 3}
both = pytest.mark.parametrize("settings", [AWDLSTMSettings(**SIZES), QRNNSettings(**SIZES)])


@pytest.mark.parametrize(("settings", "kind"), [(AWDLSTMSettings(**SIZES), AWDLSTM), (QRNNSettings(**SIZES), QRNN)])
def test_the_settings_say_which_encoder(settings: EncoderSettings, kind: type[Encoder]) -> None:
    encoder = LanguageModel(VOCAB, settings, PAD).encoder
    assert type(encoder) is kind
    assert encoder.settings is settings


@both
def test_decoder_is_the_embedding_itself(settings: EncoderSettings) -> None:
    model = LanguageModel(VOCAB, settings, PAD)
    assert model.decoder_weight is model.encoder.embedding
    assert [name for name, _ in model.named_parameters() if "embedding" in name] == ["encoder.embedding"]
    assert sum(tensor.shape == (VOCAB, 6) for tensor in model.state_dict().values()) == 1


@both
def test_scores_are_those_of_the_tied_decoder(settings: EncoderSettings) -> None:
    model = LanguageModel(VOCAB, settings, PAD, seed=3)
    assert model.decoder_bias is not None
    with torch.no_grad():
        model.decoder_bias.uniform_(generator=torch.Generator().manual_seed(1))
        tokens, state = torch.arange(8).view(4, 2), model.encoder.initial_state(2)
        out = model(tokens, state)
        expected = F.linear(model.encoder(tokens, state).dropped_TBE, model.encoder.embedding, model.decoder_bias)
    assert torch.equal(out.logits_TBV, expected)


@both
@pytest.mark.parametrize("bias", [True, False])
def test_layer_groups_hold_every_parameter_once(settings: EncoderSettings, bias: bool) -> None:
    model = LanguageModel(VOCAB, settings.model_copy(update={"decoder_bias": bias}), PAD)
    groups = model.layer_groups()
    assert [name for name, _ in groups] == ["rnn0", "rnn1", "rnn2", "decoder"]
    held = [id(parameter) for _, parameters in groups for parameter in parameters]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    assert groups[3][1][0] is model.encoder.embedding
