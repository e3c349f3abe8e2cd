"""The weights of an AWD-LSTM language model in the layouts of the field, checked and under our names.

fast.ai 2018 (`fwd_wt103.h5`), fastai 1 and 2 (`.pth`, with and without the optimizer's state), awd-lstm-lm (the list of
model, criterion and optimizer that it saves, or a state dict); the encoder alone, where a fastai saved that. The gates
of all are torch's i, f, g, o, as ours.

The recurrent weight is the one called `_raw`: `weight_hh_l0` beside it is what weight drop last left of it.
awd-lstm-lm trains vocabularies above 75,000 with a split softmax: its scores are the same, its probabilities are not.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ulmfit_dist.errors import InputError
from ulmfit_dist.modelfolder.pickledata import Made
from ulmfit_dist.modelfolder.torchfile import TorchFile, open_torch_file
from ulmfit_dist.models.settings import AWDLSTMSettings

_LAYER = re.compile(r"(?:0\.)?rnns\.(\d{1,2})\.(?:module\.)?(?:(weight|bias)_(ih|hh)_l0(_raw)?)")
_EMBEDDING = re.compile(r"(?:0\.)?encoder\.weight")
_COPY = re.compile(r"(?:0\.)?(encoder_with_dropout\.embed|encoder_dp\.emb)\.weight")
_DECODER = re.compile(r"(?:1\.)?decoder\.(weight|bias)")
_COPIES = {"encoder_with_dropout.embed": "fastai-0.7", "encoder_dp.emb": "fastai"}
_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_NOT_OURS = (
    (re.compile(r".*_reverse$"), "a bidirectional LSTM"),
    (re.compile(r"(0\.)?rnns\.\d+\.(layers|linear)\b.*"), "a QRNN"),
    (re.compile(r"1\.layers\..*|0\.module\..*"), "a classifier"),
)
_ENCODER = "encoder."


class ForeignWeights(NamedTuple):
    """A language model's sizes and its float32 weights under the names of `models.awd_lstm.LanguageModel`.

    layout: `fastai-0.7`, `fastai` (1 or 2: their files are alike) or `awd-lstm-lm`.
    encoder_only: the file had no decoder; tied, it is the embedding, its bias is lost.
    """

    layout: str
    encoder_only: bool
    settings: AWDLSTMSettings
    tensors: dict[str, Tensor]

    @property
    def vocab_size(self) -> int:
        """Number of embedding rows."""
        return self.tensors[f"{_ENCODER}embedding"].shape[0]


def read_weights(path: Path) -> ForeignWeights:
    """Read a weight file of any known layout.

    Raises InputError for a file that is no such file, for names, shapes or numbers that are no AWD-LSTM's, and for a
    decoder that is not tied to the embedding.
    """
    file = open_torch_file(path)
    state = _state_dict(file)
    tensors, copies, layout = _renamed(file, state)
    settings = _sizes(path, tensors)
    _check_shapes(path, tensors, settings)
    embedding = tensors[f"{_ENCODER}embedding"]
    for name, copy in copies.items():
        if copy.shape != embedding.shape or not torch.equal(copy, embedding):
            raise _unfit(path, f"{name} differs from the embedding: input and output are not tied")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise _unfit(path, f"NaN or infinite numbers in {name}")
    encoder_only = not any(_DECODER.fullmatch(name) for name in copies)
    return ForeignWeights(layout, encoder_only, settings, tensors)


def _state_dict(file: TorchFile) -> dict[str, Any]:
    value = file.value
    if isinstance(value, list) and value:  # awd-lstm-lm: model, criterion, optimizer
        value = value[0]
    if isinstance(value, dict) and isinstance(value.get("model"), dict | Made):  # beside it the optimizer's state
        value = value["model"]
    if isinstance(value, Made) and value.name == "model.RNNModel":
        value = _of_module(value)
    if not isinstance(value, dict) or not value or not all(isinstance(name, str) for name in value):
        raise _unfit(file.path, "no table of named weights in it")
    return value


def _of_module(root: Made) -> dict[str, Any]:
    """Return the parameters of a pickled torch module by the names of its state dict."""
    out: dict[str, Any] = {}
    waiting = [("", root)]
    seen = set()
    while waiting:
        prefix, module = waiting.pop()
        state = module.state
        if id(module) in seen or not isinstance(state, dict):
            continue
        seen.add(id(module))
        own, children = state.get("_parameters"), state.get("_modules")
        out |= {f"{prefix}{name}": made for name, made in _named(own).items() if made is not None}
        waiting += [(f"{prefix}{name}.", child) for name, child in _named(children).items() if isinstance(child, Made)]
    return out


def _named(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _renamed(file: TorchFile, state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor], str]:
    """Return the tensors under our names, the copies of the embedding under the file's, and the layout."""
    tensors: dict[str, Tensor] = {}
    copies: dict[str, Tensor] = {}
    layout = "awd-lstm-lm"
    for name, made in state.items():
        layer, decoder, copy = _LAYER.fullmatch(name), _DECODER.fullmatch(name), _COPY.fullmatch(name)
        if layer:
            index, kind, side, raw = layer.groups()
            ours = f"{_ENCODER}rnns.{int(index)}.{kind}_{side}"
            if raw or not any(_is_raw(other, index) for other in state) or (kind, side) != ("weight", "hh"):
                tensors[ours] = file.tensor(made, name)
        elif _EMBEDDING.fullmatch(name):
            tensors[f"{_ENCODER}embedding"] = file.tensor(made, name)
        elif copy or (decoder and decoder[1] == "weight"):
            copies[name] = file.tensor(made, name)
            layout = _COPIES[copy[1]] if copy else layout
        elif decoder:
            tensors["decoder_bias"] = file.tensor(made, name)
        else:
            raise _foreign_name(file.path, name)
    return tensors, copies, layout


def _is_raw(name: str, index: str) -> bool:
    layer = _LAYER.fullmatch(name)
    return layer is not None and layer[1] == index and layer[4] is not None


def _foreign_name(path: Path, name: str) -> InputError:
    of = next((what for pattern, what in _NOT_OURS if pattern.fullmatch(name)), "another model")
    return _unfit(path, f"weights of {of}: {name!a:.80}")


def _sizes(path: Path, tensors: dict[str, Tensor]) -> AWDLSTMSettings:
    embedding = tensors.get(f"{_ENCODER}embedding")
    if embedding is None or embedding.dim() != 2 or not embedding.numel():
        raise _unfit(path, "no embedding matrix (encoder.weight)")
    num_layers = len({name.split(".")[2] for name in tensors if name.startswith(f"{_ENCODER}rnns.")})
    wanted = [f"{_ENCODER}rnns.{index}.{part}" for index in range(max(1, num_layers)) for part in _PARTS]
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise _unfit(path, f"no {missing[0].removeprefix(_ENCODER)} among its weights")
    hidden = max(1, tensors[f"{_ENCODER}rnns.0.bias_hh"].numel() // 4)
    return AWDLSTMSettings(
        embedding_size=embedding.shape[1],
        hidden_size=hidden,
        num_layers=num_layers,
        decoder_bias="decoder_bias" in tensors,
    )


def _check_shapes(path: Path, tensors: dict[str, Tensor], settings: AWDLSTMSettings) -> None:
    vocab_size = tensors[f"{_ENCODER}embedding"].shape[0]
    wanted: dict[str, tuple[int, ...]] = {"decoder_bias": (vocab_size,)}
    for index, (inputs, outputs) in enumerate(settings.layer_sizes()):
        shapes = ((4 * outputs, inputs), (4 * outputs, outputs), (4 * outputs,), (4 * outputs,))
        wanted |= {f"{_ENCODER}rnns.{index}.{part}": shape for part, shape in zip(_PARTS, shapes, strict=True)}
    for name, shape in wanted.items():
        if name in tensors and tuple(tensors[name].shape) != shape:
            found = f"{name.removeprefix(_ENCODER)} is {tuple(tensors[name].shape)} where {shape} would fit the others"
            raise _unfit(path, found)


def _unfit(path: Path, found: str) -> InputError:
    return InputError(
        f"{path} is not an AWD-LSTM language model that can be imported",
        found=found,
        do="give the language model's weights as fast.ai (2018), fastai 1, fastai 2 or awd-lstm-lm saved them",
    )
