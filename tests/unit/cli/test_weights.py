"""Commands that carry language models over."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from ulmfit_dist.modelfolder.folder import load_language_model

TOKENS = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj", "the", "film"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A fastai 2 model of one layer of 3 units for 11 tokens, and its vocabulary itos.pkl."""
    tied, bias = torch.randn(11, 3), torch.randn(12)
    layer = {"module.weight_ih_l0": torch.randn(12, 3), "module.bias_ih_l0": bias, "module.bias_hh_l0": bias}
    state = {f"0.rnns.0.{name}": made for name, made in layer.items()} | {"0.rnns.0.weight_hh_l0_raw": layer[
        "module.weight_ih_l0"]}  # fmt: skip
    torch.save({"0.encoder.weight": tied, **state, "1.decoder.weight": tied}, tmp_path / "lm.pth")
    (tmp_path / "itos.pkl").write_bytes(pickle.dumps(TOKENS))
    return tmp_path / "lm.pth"


def test_there_and_back(weights: Path, tmp_path: Path, ulmfit, capsys: pytest.CaptureFixture[str]) -> None:
    itos = tmp_path / "itos.pkl"
    options = ("--itos", itos, "--direction", "backward", "--language", "de", "--out", tmp_path / "model")
    assert ulmfit("import-weights", weights, *options) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rules"], found["hidden_size"], found["decoder_bias"]) == ("fastai-2", 3, False)
    model, tokenizer, config = load_language_model(tmp_path / "model")
    assert (config.direction, config.language, tokenizer.name) == ("backward", "de", "de-word-11")
    assert torch.equal(model.encoder.rnns[0].bias_ih, model.encoder.rnns[0].bias_hh)  # one storage in the file
    assert ulmfit("export-weights", tmp_path / "model", "--out", tmp_path / "out") == 0
    assert json.loads(capsys.readouterr().out)["config"] == {"emb_sz": 3, "n_hid": 3, "n_layers": 1}
    again = torch.load(tmp_path / "out" / "lm.pth", weights_only=True)
    for name, tensor in torch.load(weights, weights_only=True).items():
        assert torch.equal(again[name], tensor)


def test_rules_of_another_generation(weights: Path, tmp_path: Path, ulmfit) -> None:
    options = ("--itos", tmp_path / "itos.pkl", "--direction", "forward", "--out", tmp_path / "model")
    assert ulmfit("import-weights", weights, *options, "--rules", "ulmfit-1") == 0
    assert load_language_model(tmp_path / "model")[1].vocabulary.itos[5] == "xxmaj"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--direction", "up"], "forward"),
        (["--rules", "fastai-9", "--direction", "forward"], "fastai-9"),
        ([], "neither fwd nor bwd in the name"),
    ],
)
def test_wrong_options_are_refused(  # noqa: PLR0917 - fixtures and a case
    weights: Path, tmp_path: Path, ulmfit, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    given = ("--itos", tmp_path / "itos.pkl", "--out", tmp_path / "model", *options)
    assert ulmfit("import-weights", weights, *given) == 2
    assert said in capsys.readouterr().err


def test_a_hostile_file_is_refused_in_a_sentence(
    weights: Path, tmp_path: Path, ulmfit, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "itos.pkl").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "marker").encode() + b"'\ntR.")
    given = ("--itos", tmp_path / "itos.pkl", "--direction", "forward", "--out", tmp_path / "model")
    assert ulmfit("import-weights", weights, *given) == 2
    assert "refused; nothing in it was run" in capsys.readouterr().err
    assert not (tmp_path / "marker").exists()
