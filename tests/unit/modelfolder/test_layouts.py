"""Every layout gives the arrays it was written from; names, shapes and numbers that do not fit are refused by name."""

from __future__ import annotations

import random

import pytest
import torch

from ulmfit_dist.errors import InputError
from ulmfit_dist.modelfolder.itos import read_itos
from ulmfit_dist.modelfolder.layouts import read_weights

OURS = {"ih": "weight_ih", "hh": "weight_hh", "bih": "bias_ih", "bhh": "bias_hh"}


def expected(given):
    out = {"encoder.embedding": given["embedding"]}
    for name in given:
        kind = name.rstrip("0123456789")
        if kind in OURS:
            out[f"encoder.rnns.{name[len(kind) :]}.{OURS[kind]}"] = given[name]
    return out | ({"decoder_bias": given["bias"]} if "bias" in given else {})


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("state", "layout"),
    [
        ("state_0_7", "fastai-0.7"),
        ("state_1", "fastai"),
        ("state_2", "fastai"),
        ("state_awd", "awd-lstm-lm"),
        ("awd_checkpoint", "awd-lstm-lm"),
    ],
)
def test_arrays_are_those_that_were_written(published, tmp_path, state, layout, old):
    given = published.arrays(11, (4, 6, 12), bias=state != "state_0_7")  # twelve layers: 10 and 11 come after 9
    read = read_weights(published.save(tmp_path / "file", getattr(published, state)(given), old))
    assert read.layout == layout
    assert not read.encoder_only
    assert read.vocab_size == 11
    sizes = read.settings
    assert (sizes.embedding_size, sizes.hidden_size, sizes.num_layers, sizes.decoder_bias) == (
        4,
        6,
        12,
        "bias" in given,
    )
    assert read.tensors.keys() == expected(given).keys()
    for name, array in expected(given).items():
        assert torch.equal(read.tensors[name], torch.from_numpy(array))


def test_an_encoder_alone(published, tmp_path):
    given = published.arrays(11)
    read = read_weights(published.save(tmp_path / "enc.h5", published.encoder_of(published.state_0_7(given))))
    assert read.encoder_only
    assert read.layout == "fastai-0.7"
    assert not read.settings.decoder_bias


def test_16_bit_numbers_are_read(published, tmp_path):
    state = {name: tensor.half() for name, tensor in published.state_2(published.arrays(11)).items()}
    read = read_weights(published.save(tmp_path / "file", state))
    assert torch.equal(read.tensors["encoder.embedding"], state["0.encoder.weight"].float())


@pytest.mark.parametrize("place", ["model", "whole"])
def test_a_model_saved_whole(published, tmp_path, place):
    given = published.arrays(11)
    model = published.awd_checkpoint(given)[0]
    read = read_weights(published.save(tmp_path / "file", {"model": model} if place == "model" else model))
    assert torch.equal(read.tensors["encoder.rnns.2.weight_hh"], torch.from_numpy(given["hh2"]))


def without(name):
    return lambda state: state.pop(name)


def put(name, made):
    return lambda state: state.__setitem__(name, made)


HH, IH = "0.rnns.1.weight_hh_l0_raw", "0.rnns.1.module.weight_ih_l0"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (without("0.encoder.weight"), "no embedding matrix"),
        (without(IH), r"no rnns\.1\.weight_ih"),
        (without("0.rnns.0.module.bias_hh_l0"), r"no rnns\.0\.bias_hh"),
        (lambda state: [state.pop(name) for name in list(state) if "rnns.1" in name], r"no rnns\.1\.weight_ih"),
        (lambda state: [state.pop(name) for name in list(state) if "rnns" in name], r"no rnns\.0\.weight_ih"),
        (put("0.encoder.weight", torch.ones(11)), "no embedding matrix"),
        (put("0.encoder.weight", torch.ones(0, 4)), "no embedding matrix"),
        (put("0.encoder.weight", torch.ones(11, 5)), r"rnns\.0\.weight_ih is \(24, 4\) where \(24, 5\)"),
        (put(IH, torch.ones(24, 7)), r"rnns\.1\.weight_ih is \(24, 7\) where \(24, 6\)"),
        (put(HH, torch.ones(6, 24)), r"rnns\.1\.weight_hh is \(6, 24\) where \(24, 6\)"),
        (put("1.decoder.bias", torch.ones(12)), r"decoder_bias is \(12,\) where \(11,\)"),
        (put("1.decoder.weight", torch.ones(11, 4)), "not tied"),
        (put("0.encoder_dp.emb.weight", torch.ones(12, 4)), "not tied"),
        (put("0.rnns.0.module.weight_ih_l0_reverse", torch.ones(2)), "bidirectional"),
        (put("0.rnns.0.layers.0.linear.weight", torch.ones(2)), "QRNN"),
        (put("1.layers.0.weight", torch.ones(2)), "classifier"),
        (put("transformer.h.0.weight", torch.ones(2)), "another model"),
        (put(3, torch.ones(2)), "no table of named weights"),
        (put(IH, torch.full((24, 6), float("inf"))), "infinite"),
        (put("1.decoder.bias", torch.full((11,), float("nan"))), "NaN"),
        (put(IH, "text"), "no tensor"),
    ],
)
def test_what_does_not_fit(published, tmp_path, change, found):
    state = published.state_2(published.arrays(11))
    change(state)
    with pytest.raises(InputError, match=found):
        read_weights(published.save(tmp_path / "file", state))


@pytest.mark.parametrize("value", [[], {}, None, 3, "text", [1, 2], {"model": {}}, {"opt": {}}, torch.ones(3)])
def test_what_is_no_table(published, tmp_path, value):
    with pytest.raises(InputError, match="no table of named weights|another model"):
        read_weights(published.save(tmp_path / "file", value))


def damaged(content, drawn):
    """A copy with bytes changed, taken out or put in."""
    content = bytearray(content)
    for _ in range(drawn.choice([1, 1, 2, 8])):
        kind, place = drawn.randrange(4), drawn.randrange(len(content))
        if kind == 0:
            del content[place : place + drawn.randrange(1, 5)]
        elif kind == 1:
            content[place:place] = drawn.randbytes(drawn.randrange(1, 4))
        else:
            content[place] = drawn.randrange(256)
    return bytes(content)


@pytest.mark.parametrize("kind", ["zip", "old", "modules", "itos", "itos of protocol 0", "corpus"])
def test_damaged_files_are_read_or_refused(published, tmp_path, kind):
    given, path = published.arrays(11, (2, 2, 2)), tmp_path / "file"
    write = {
        "zip": lambda: published.save(path, published.state_2(given)),
        "old": lambda: published.save(path, published.state_2(given), old=True),
        "modules": lambda: published.save(path, published.awd_checkpoint(given), old=True),
        "itos": lambda: published.save_itos(path, published.MARKS_1),
        "itos of protocol 0": lambda: published.save_itos(path, published.MARKS_1, 0),
        "corpus": lambda: published.save(path, published.awd_corpus(published.MARKS_AWD)),
    }
    content = write[kind]().read_bytes()
    read = read_itos if "itos" in kind or kind == "corpus" else read_weights
    assert read(path)
    drawn = random.Random(kind)
    refused = 0
    for _ in range(300):
        path.write_bytes(damaged(content, drawn))
        try:
            read(path)
        except InputError:
            refused += 1
    assert refused > 100
