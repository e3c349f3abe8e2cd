"""Files as the field published them, written from the description of their layouts, and the model they stand for.

Independent of the package: arrays by numpy, files by `torch.save`, the model by `torch.nn`. A file of this folder loads
it by its path (conftest.py, tests/bench/bench_import_full_size.py).
"""

# ruff: noqa: N803 - shape suffixes: T time, B batch, V vocabulary
from __future__ import annotations

import pickle
import sys
import types
import warnings
from collections import Counter, OrderedDict

import numpy as np
import torch
from torch import nn

MARKS_0_7 = ["_unk_", "_pad_", "the", ",", ".", "xbos", "xfld", "t_up", "tk_rep", "tk_wrep", "\n"]
MARKS_1 = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxmaj", "xxup", "xxrep", "xxwrep", "the", "\n"]
MARKS_2 = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj", "the", "\n"]
MARKS_AWD = ["the", "<eos>", "film", "<unk>", "=", "Valkyria"]


def words(marks, size):
    return [*marks, *(f"word{number}" for number in range(size - len(marks)))]


def arrays(vocab_size, sizes=(4, 6, 3), seed=0, bias=True):
    """Random weights of (embedding, hidden, layers): embedding (V, E), ih, hh, bih, bhh a layer, decoder bias (V,)."""
    embedding, hidden, layers = sizes
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(0.3)

    out = {"embedding": draw(vocab_size, embedding)}
    for layer in range(layers):
        inputs = embedding if layer == 0 else hidden
        size = embedding if layer == layers - 1 else hidden
        shapes = {"ih": (4 * size, inputs), "hh": (4 * size, size), "bih": (4 * size,), "bhh": (4 * size,)}
        out |= {f"{name}{layer}": draw(*shape) for name, shape in shapes.items()}
    if bias:
        out["bias"] = draw(vocab_size)
    return out


def num_layers(given):
    return sum(name.startswith("hh") for name in given)


def state_0_7(given):
    """fast.ai 2018: `fwd_wt103.h5`; the tied matrix three times, sharing its numbers; no bias."""
    tied = torch.from_numpy(given["embedding"])
    out = OrderedDict([("0.encoder.weight", tied), ("0.encoder_with_dropout.embed.weight", tied)])
    for layer in range(num_layers(given)):
        at = f"0.rnns.{layer}.module."
        out[f"{at}weight_ih_l0"] = torch.from_numpy(given[f"ih{layer}"])
        out[f"{at}bias_ih_l0"] = torch.from_numpy(given[f"bih{layer}"])
        out[f"{at}bias_hh_l0"] = torch.from_numpy(given[f"bhh{layer}"])
        out[f"{at}weight_hh_l0_raw"] = torch.from_numpy(given[f"hh{layer}"])
    out["1.decoder.weight"] = tied
    return out


def state_1(given):
    """fastai 1: the raw recurrent weight moved out of `module`, what weight drop left of it inside; a bias."""
    tied = torch.from_numpy(given["embedding"])
    out = OrderedDict([("0.encoder.weight", tied), ("0.encoder_dp.emb.weight", tied)])
    for layer in range(num_layers(given)):
        at = f"0.rnns.{layer}."
        raw = torch.from_numpy(given[f"hh{layer}"])
        out[f"{at}weight_hh_l0_raw"] = raw
        out[f"{at}module.weight_ih_l0"] = torch.from_numpy(given[f"ih{layer}"])
        out[f"{at}module.weight_hh_l0"] = raw * (torch.arange(raw.numel()).view_as(raw) % 3 > 0)
        out[f"{at}module.bias_ih_l0"] = torch.from_numpy(given[f"bih{layer}"])
        out[f"{at}module.bias_hh_l0"] = torch.from_numpy(given[f"bhh{layer}"])
    out["1.decoder.weight"] = tied
    out["1.decoder.bias"] = torch.from_numpy(given["bias"])
    return out


def state_2(given):
    """fastai 2: as 1, without the dropped weight."""
    return OrderedDict((name, made) for name, made in state_1(given).items() if "module.weight_hh_l0" not in name)


def encoder_of(state):
    """What `save_encoder` writes: the encoder's weights without its prefix."""
    return OrderedDict((name[2:], made) for name, made in state.items() if name.startswith("0."))


def state_awd(given):
    """awd-lstm-lm, as a state dict."""
    tied = torch.from_numpy(given["embedding"])
    out = OrderedDict([("encoder.weight", tied)])
    for layer in range(num_layers(given)):
        at = f"rnns.{layer}.module."
        out[f"{at}weight_ih_l0"] = torch.from_numpy(given[f"ih{layer}"])
        out[f"{at}bias_ih_l0"] = torch.from_numpy(given[f"bih{layer}"])
        out[f"{at}bias_hh_l0"] = torch.from_numpy(given[f"bhh{layer}"])
        out[f"{at}weight_hh_l0_raw"] = torch.from_numpy(given[f"hh{layer}"])
    out["decoder.weight"] = tied
    out["decoder.bias"] = torch.from_numpy(given["bias"])
    return out


def save(path, value, old=False):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch looks for the source of the classes below
        torch.save(value, path, _use_new_zipfile_serialization=not old)
    return path


def save_itos(path, tokens, protocol=4):
    path.write_bytes(pickle.dumps(tokens, protocol=protocol))
    return path


def _class(module, name, bases, **body):
    made = type(name, bases, {"__module__": module, **body})
    sys.modules.setdefault(module, types.ModuleType(module))
    setattr(sys.modules[module], name, made)
    return made


def awd_checkpoint(given):
    """The list [model, criterion, optimizer] of awd-lstm-lm: whole modules, a bound method among their attributes."""
    drop = _class("weight_drop", "WeightDrop", (nn.Module,), nothing=lambda self: None)
    locked = _class("locked_dropout", "LockedDropout", (nn.Module,))
    model = _class("model", "RNNModel", (nn.Module,))()
    tied = nn.Parameter(torch.from_numpy(given["embedding"]))
    model.lockdrop, model.idrop = locked(), nn.Dropout(0.4)
    model.encoder = nn.Embedding(*tied.shape)
    model.encoder.weight = tied
    rnns = []
    for layer in range(num_layers(given)):
        rnn = nn.LSTM(given[f"ih{layer}"].shape[1], given[f"hh{layer}"].shape[1])
        wrapped = drop()
        wrapped.module, wrapped.weights = rnn, ["weight_hh_l0"]
        rnn.flatten_parameters = wrapped.nothing
        fill(rnn, given, layer)
        raw = nn.Parameter(rnn.weight_hh_l0.detach().clone())
        rnn.weight_hh_l0 = nn.Parameter(torch.zeros_like(raw))  # what weight drop last left there
        rnn.register_parameter("weight_hh_l0_raw", raw)
        rnns.append(wrapped)
    model.rnns = nn.ModuleList(rnns)
    model.decoder = nn.Linear(*reversed(tied.shape))
    model.decoder.weight, model.decoder.bias = tied, nn.Parameter(torch.from_numpy(given["bias"]))
    model.rnn_type, model.ninp = "LSTM", tied.shape[1]
    criterion = _class("splitcross", "SplitCrossEntropyLoss", (nn.Module,))()
    optimizer = torch.optim.ASGD(model.parameters(), lr=30.0)
    sum(parameter.sum() for parameter in model.parameters()).backward()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer.step()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(before[name])
    return [model, criterion, optimizer]


def awd_corpus(tokens):
    """The `corpus.*.data` of awd-lstm-lm, which holds its vocabulary."""
    dictionary = _class("data", "Dictionary", (object,))()
    dictionary.word2idx = {token: index for index, token in enumerate(tokens)}
    dictionary.idx2word, dictionary.counter, dictionary.total = list(tokens), Counter({0: 3, 1: 2}), 5
    corpus = _class("data", "Corpus", (object,))()
    corpus.dictionary, corpus.train = dictionary, torch.arange(7)
    return corpus


def fill(rnn, given, layer):
    with torch.no_grad():
        for theirs, ours in (("weight_ih", "ih"), ("weight_hh", "hh"), ("bias_ih", "bih"), ("bias_hh", "bhh")):
            getattr(rnn, f"{theirs}_l0").copy_(torch.from_numpy(given[f"{ours}{layer}"]))


@torch.no_grad()
def scores(given, tokens_TB):
    """The next token's scores (T, B, V) by torch.nn alone: embedding, LSTMs one after the other, tied decoder."""
    embedding = torch.from_numpy(given["embedding"])
    x = nn.Embedding.from_pretrained(embedding)(tokens_TB)
    for layer in range(num_layers(given)):
        rnn = nn.LSTM(given[f"ih{layer}"].shape[1], given[f"hh{layer}"].shape[1])
        fill(rnn, given, layer)
        x, _ = rnn(x)
    bias = torch.from_numpy(given["bias"]) if "bias" in given else 0
    return x @ embedding.t() + bias
