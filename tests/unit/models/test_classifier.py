"""The classifier: pooling and BPT3C against plain statements; scores free of batch mates and of the padding's side."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ulmfit_dist.models.classifier import Chunk, ClassifierSettings, TextClassifier
from ulmfit_dist.models.dropout import DropoutMasks
from ulmfit_dist.models.language_model import LanguageModel
from ulmfit_dist.models.settings import AWDLSTMSettings

VOCAB, PAD, CLASSES = 31, 1, 3
SIZES = AWDLSTMSettings(embedding_size=5, hidden_size=7, num_layers=2)
LENGTHS = [13, 1, 6, 9]


def _model(bptt: int = 4, max_length: int = 1400) -> TextClassifier:
    language_model = LanguageModel(VOCAB, SIZES, PAD, seed=1)
    settings = ClassifierSettings(bptt=bptt, max_length=max_length, head_hidden=6)
    model = TextClassifier.from_language_model(language_model, CLASSES, settings, seed=2).eval()
    with torch.no_grad():  # running statistics that do something
        for norm in model.head.norms:
            norm.running_mean.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(3))
            norm.running_var.fill_(0.5)
    return model


def _documents() -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.randint(2, VOCAB, (length,), generator=generator) for length in LENGTHS]


def _batch(documents: list[Tensor], side: str = "end", length: int = 17) -> tuple[Tensor, Tensor]:
    tokens = torch.full((length, len(documents)), PAD)
    for column, document in enumerate(documents):
        start = {"end": 0, "front": length - len(document), "both": (length - len(document)) // 2}[side]
        tokens[start : start + len(document), column] = document
    return tokens, tokens != PAD


def _plain_pool(model: TextClassifier, document: Tensor, max_length: int) -> Tensor:
    state = model.encoder.initial_state(1)
    out = model.encoder(document[:, None], state).dropped_TBE[:, 0][-max_length:]
    return torch.cat([out[-1], out.max(0).values, out.mean(0)])


@pytest.mark.parametrize("max_length", [1400, 5])
def test_scores_equal_pooling_each_document_alone_in_one_piece(max_length: int) -> None:
    model, documents = _model(max_length=max_length), _documents()
    with torch.no_grad():
        expected = model.head(torch.stack([_plain_pool(model, document, max_length) for document in documents]), None)
        torch.testing.assert_close(model(*_batch(documents)), expected)


@pytest.mark.parametrize("side", ["front", "both"])
def test_scores_do_not_depend_on_the_side_of_the_padding(side: str) -> None:
    model, documents = _model(), _documents()
    with torch.no_grad():
        torch.testing.assert_close(model(*_batch(documents, side)), model(*_batch(documents)))


def test_scores_do_not_depend_on_batch_mates_or_the_amount_of_padding() -> None:
    model, documents = _model(), _documents()
    with torch.no_grad():
        together = model(*_batch(documents, length=40))
        alone = torch.cat([model(*_batch([document], length=len(document))) for document in documents])
    torch.testing.assert_close(together, alone)


def test_gradients_stop_at_chunks_as_in_bpt3c() -> None:
    model, document = _model(bptt=4), _documents()[0]
    model(*_batch([document])).sum().backward()
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    state, outs = model.encoder.initial_state(1), []
    for start in range(0, len(document), 4):
        out = model.encoder(document[start : start + 4, None], state)
        state = [(hidden.detach(), cell.detach()) for hidden, cell in out.state]
        outs.append(out.dropped_TBE[:, 0])
    joined = torch.cat(outs)
    pooled = torch.cat([joined[-1], joined.max(0).values, joined.mean(0)])
    model.head(pooled[None], None).sum().backward()
    assert ours.keys() == {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, msg=name)


def test_what_is_not_pooled_gets_no_gradient() -> None:
    model = _model(bptt=4, max_length=3)
    document = torch.arange(2, 2 + 12)
    model(*_batch([document])).sum().backward()
    assert model.encoder.embedding.grad is not None
    touched = model.encoder.embedding.grad.abs().sum(1).nonzero().flatten().tolist()
    # Pooled are the last 3 of 12: all in the third chunk of 4, whose gradient stops at its start.
    assert touched == document[8:].tolist()


def test_frozen_layers_are_not_differentiated() -> None:
    model = _model()
    for name, parameters in model.layer_groups():
        for parameter in parameters:
            parameter.requires_grad_(name == "head")
    tokens, valid = _batch(_documents())
    out = model.encoder(tokens, model.encoder.initial_state(tokens.shape[1]))
    assert not out.raw_TBE.requires_grad
    model(tokens, valid).sum().backward()
    have = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert have == {name for name, _ in model.named_parameters() if name.startswith("head.")}


def test_masks_drop_in_the_encoder_and_in_both_head_layers() -> None:
    model, (tokens, valid) = _model(), _batch(_documents())
    masks = DropoutMasks(1, 0, range(4), 4)
    with torch.no_grad():
        dropped, again = model(tokens, valid, masks), model(tokens, valid, DropoutMasks(1, 0, range(4), 4))
        assert torch.equal(dropped, again)
        assert not torch.allclose(dropped, model(tokens, valid))
        pooled = torch.ones(4, 15)
        first = masks.bernoulli("head0", (4, 15), 0.4)
        second = masks.bernoulli("head1", (4, 6), 0.1)
        assert first is not None
        assert second is not None
        x = model.head.linears[0](model.head.norms[0](pooled) * first)
        expected = model.head.linears[1](model.head.norms[1](torch.relu(x)) * second)
        torch.testing.assert_close(model.head(pooled, masks), expected)


def test_what_is_pooled_is_not_dropped_as_in_the_ancestors() -> None:
    # fast.ai 2018: dropouti, wdrop, dropoute, dropouth of the encoder and the head's own two, for drop_mult 1.
    classifier = ClassifierSettings()
    encoder = classifier.encoder_settings(SIZES)
    assert (encoder.input_dropout, encoder.weight_dropout) == (0.4, 0.5)
    assert (encoder.embedding_dropout, encoder.hidden_dropout) == (0.05, 0.3)
    assert (*classifier.head_dropouts, encoder.output_dropout) == (0.4, 0.1, 0.0)
    assert SIZES.output_dropout > 0
    inner = dict.fromkeys(("input_dropout", "weight_dropout", "embedding_dropout", "hidden_dropout"), 0.0)
    language_model = LanguageModel(VOCAB, SIZES, PAD, seed=1)
    model = TextClassifier.from_language_model(language_model, CLASSES, ClassifierSettings(**inner, bptt=4))
    batch = _batch(_documents())
    torch.testing.assert_close(model.encode(*batch, DropoutMasks(1, 0, range(4), 4)), model.encode(*batch))


def test_groups_and_encoder_come_from_the_language_model() -> None:
    language_model = LanguageModel(VOCAB, SIZES, PAD, seed=1)
    model = TextClassifier.from_language_model(language_model, 2, ClassifierSettings())
    assert [name for name, _ in model.layer_groups()] == ["emb", "rnn0", "rnn1", "head"]
    assert sum(len(parameters) for _, parameters in model.layer_groups()) == len(list(model.parameters()))
    assert torch.equal(model.encoder.embedding, language_model.encoder.embedding)
    assert model.encoder.embedding is not language_model.encoder.embedding
    assert model.encoder.settings.weight_dropout == 0.5
    assert model.encoder.settings.hidden_size == SIZES.hidden_size


def test_head_is_a_function_of_the_seed() -> None:
    language_model = LanguageModel(VOCAB, SIZES, PAD)
    heads = []
    for seed, noise in ((1, 5), (1, 6), (2, 5)):
        torch.manual_seed(noise)
        model = TextClassifier.from_language_model(language_model, 2, ClassifierSettings(), seed)
        heads.append(model.head.linears[0].weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_drop_mult_reaches_head_and_encoder() -> None:
    scaled = ClassifierSettings().scaled(0.5)
    assert scaled.head_dropouts == (0.2, 0.05)
    assert scaled.encoder_settings(SIZES).weight_dropout == 0.25
    assert scaled.max_length == 1400


@pytest.mark.parametrize("order", [[0, 3, 2, 1], [1, 2, 3, 0]])
def test_documents_that_have_ended_leave_the_batch_and_their_scores_and_gradients_do_not_notice(
    order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [_documents()[i] for i in order]
    masks = DropoutMasks(1, 0, range(4), 4)
    seen, model = [], _model(bptt=4)
    encode = model.encoder.forward
    monkeypatch.setattr(model.encoder, "forward", lambda *args: (seen.append(args[0].shape[1]), encode(*args))[1])
    logits = model(*_batch(documents), masks)
    # Falling lengths 13, 9, 6, 1 in chunks of 4; with the longest last, every lane stays.
    assert seen == ([4, 3, 2, 1] if order[0] == 0 else [4, 4, 4, 4])
    logits.sum().backward()
    for lane, document in enumerate(documents):
        alone = _model(bptt=4)
        own = DropoutMasks(1, 0, range(lane, lane + 1), 4)
        pooled = alone.encode(*_batch([document]), own)
        torch.testing.assert_close(pooled, model.encode(*_batch(documents), masks)[lane : lane + 1])


@pytest.mark.parametrize("length", [1, 2, 50_000])
def test_a_document_of_any_length_is_scored_beside_short_ones(length: int) -> None:
    model = _model(bptt=70, max_length=140)
    generator = torch.Generator().manual_seed(9)
    document = torch.randint(2, VOCAB, (length,), generator=generator)
    tokens, valid = _batch([document, *_documents()], length=max(length, 17))
    with torch.no_grad():
        together = model(tokens, valid)
        assert torch.isfinite(together).all()
        torch.testing.assert_close(together[:1], model(*_batch([document], length=length)), atol=1e-5, rtol=1e-5)
    model(tokens, valid).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_chunks_that_are_watched_tell_the_next_tokens() -> None:
    model, documents = _model(bptt=4), _documents()
    told: list[list[int]] = [[] for _ in documents]

    def watch(chunk: Chunk) -> None:
        for lane in range(chunk.out_TBE.shape[1]):
            told[lane] += chunk.next_TB[:, lane][chunk.followed_TB[:, lane]].tolist()
        assert chunk.out_TBE.shape[:2] == chunk.valid_TB.shape == chunk.followed_TB.shape

    model.encode(*_batch(documents), watch=watch)
    assert told == [document[1:].tolist() for document in documents]


def test_the_last_state_alone_may_be_pooled() -> None:
    language_model = LanguageModel(VOCAB, SIZES, PAD, seed=1)
    settings = ClassifierSettings(pooling="last", bptt=4)
    model = TextClassifier.from_language_model(language_model, CLASSES, settings).eval()
    with torch.no_grad():
        expected = torch.stack([_plain_pool(model, document, 1400)[:5] for document in _documents()])
        torch.testing.assert_close(model.encode(*_batch(_documents())), expected)


def test_a_head_has_any_number_of_layers() -> None:
    language_model = LanguageModel(VOCAB, SIZES, PAD, seed=1)
    for hidden, dropouts in (((), (0.1,)), ((9, 4), (0.4, 0.2, 0.1))):
        settings = ClassifierSettings(head_hidden=hidden, head_dropouts=dropouts)
        model = TextClassifier.from_language_model(language_model, CLASSES, settings)
        assert [tuple(linear.weight.shape) for linear in model.head.linears] == [
            (outputs, inputs) for inputs, outputs in pairwise((15, *hidden, CLASSES))
        ]
    with pytest.raises(ValueError, match="as many head_dropouts"):
        ClassifierSettings(head_hidden=(9, 4))
