"""Commands that use models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ulmfit_dist.cli import models
from ulmfit_dist.files import write_json
from ulmfit_dist.serve.predictor import Predictor


class _Told:
    """Stands for a classifier: says how long a text is."""

    labels = ("long", "short")

    def predict(self, texts: list[str]) -> np.ndarray:
        return np.array([[0.75, 0.25] if len(text) > 3 else [0.25, 0.75] for text in texts])


def test_predict_prints_a_row_a_text_and_marks_nothing_up(
    tmp_path: Path, ulmfit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Predictor, "open", lambda path: _Told())
    (tmp_path / "texts").write_text("a text\n\nxy\n")
    assert ulmfit("predict", tmp_path, "--text", "abc", "--file", tmp_path / "texts") == 0
    rows = capsys.readouterr().out.split("\n")
    assert [line.split() for line in rows[:4]] == [
        ["text", "long", "short"],
        ["abc", "0.250", "0.750"],
        ["a", "text", "0.750", "0.250"],
        ["xy", "0.250", "0.750"],
    ]


def test_texts_that_cannot_be_read_are_refused(tmp_path: Path, ulmfit, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts").write_bytes(b"\xff")
    assert ulmfit("predict", tmp_path, "--file", tmp_path / "texts") == 2
    assert "UTF-8" in capsys.readouterr().err


def test_two_members_of_one_name_are_refused(tmp_path: Path, ulmfit, capsys: pytest.CaptureFixture[str]) -> None:
    members = [tmp_path / "a" / "same", tmp_path / "b" / "same"]
    assert ulmfit("ensemble", *members, "--valid", tmp_path, "--out", tmp_path / "out") == 2
    assert "same folder name" in capsys.readouterr().err


def test_lr_find_takes_a_stream_or_a_model_with_text(
    tmp_path: Path, ulmfit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []
    monkeypatch.setattr(models, "by_hand", lambda *arguments: given.append(arguments))
    model, stream, out = tmp_path / "model", tmp_path / "stream", tmp_path / "out"
    write_json(model / "config.json", {})
    assert ulmfit("lr-find", model, "--documents", tmp_path, "--out", out, "--steps", 50) == 0
    assert ulmfit("lr-find", stream, "--tokenizer", tmp_path, "--out", out, "--direction", "backward", "--frozen") == 0
    assert [(kind, inputs) for kind, _, inputs, _ in given] == [
        ("lr-find", {"model": model, "train": tmp_path}),
        ("lr-find", {"tokens": stream, "tokenizer": tmp_path}),
    ]
    assert given[0][1].sweep.steps == 50
    assert given[1][1].sweep.frozen
    assert given[1][1].pretrain.direction == "backward"
    for arguments, word in ((("--lowest", 20), "lowest"), ((), "--documents")):
        assert ulmfit("lr-find", model, "--out", out, *arguments) == 2
        assert word in capsys.readouterr().err
