"""Commands that use models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.cli import models
from ulmfit_dist.files import write_json
from ulmfit_dist.serve.predictor import Predictor


class _Told:
    """Stands for a classifier: says how long a text is."""

    def __init__(self, kind: str = "multiclass") -> None:
        self.kind = kind

    def answers(self, texts: list[str]) -> list[dict[str, Any]]:
        long = [0.75 if len(text) > 3 else 0.25 for text in texts]
        if self.kind == "regression":
            return [{"value": 10 * p} for p in long]
        rows = [{"long": p, "short": 1 - p} for p in long]
        if self.kind == "multilabel":
            return [{"labels": [name for name in row if row["long"] > 0.5], "probabilities": row} for row in rows]
        return [{"label": max(row, key=lambda name: row[name]), "probabilities": row} for row in rows]


def _rows(capsys: pytest.CaptureFixture[str], count: int) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.split("\n")[:count]]


def test_predict_prints_a_row_a_text_in_their_order(
    tmp_path: Path, ulmfit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Predictor, "open", lambda path, precision: _Told())
    (tmp_path / "texts").write_text("a text\n\nxy\n[b]\n")
    assert ulmfit("predict", tmp_path, "--text", "abc", "--file", tmp_path / "texts") == 0
    assert _rows(capsys, 5) == [
        ["text", "long", "short"],
        ["abc", "0.250", "0.750"],
        ["a", "text", "0.750", "0.250"],
        ["xy", "0.250", "0.750"],
        ["[b]", "0.250", "0.750"],
    ]


def test_predict_prints_the_labels_that_are_given_or_the_value(
    tmp_path: Path, ulmfit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Predictor, "open", lambda path, precision: _Told("multilabel"))
    assert ulmfit("predict", tmp_path, "--text", "abcd", "--text", "x") == 0
    assert _rows(capsys, 3) == [
        ["text", "labels", "long", "short"],
        ["abcd", "long,", "short", "0.750", "0.250"],
        ["x", "none", "0.250", "0.750"],
    ]
    monkeypatch.setattr(Predictor, "open", lambda path, precision: _Told("regression"))
    assert ulmfit("predict", tmp_path, "--text", "abcd") == 0
    assert _rows(capsys, 2) == [["text", "value"], ["abcd", "7.5"]]


def test_predict_reads_fields_of_a_table_and_prints_json(
    tmp_path: Path, ulmfit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = []
    monkeypatch.setattr(Predictor, "open", lambda path, precision: given.append(precision) or _Told())
    (tmp_path / "mails.csv").write_text("body,id,subject\nlonger,1,a\nx,2,\n")
    options = ["--file", tmp_path / "mails.csv", "--field", "subject", "--field", "body"]
    assert ulmfit("predict", tmp_path, *options, "--precision", "int8", "--text", "one", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row.get("fields") or row["text"] for row in found] == ["one", ["a", "longer"], ["", "x"]]
    assert [row["label"] for row in found] == ["short", "long", "short"]
    assert found[1]["probabilities"] == {"long": 0.75, "short": 0.25}
    assert given == ["int8"]
    assert ulmfit("predict", tmp_path, "--text", "x", "--precision", "int4") == 2
    assert "float32 or int8" in capsys.readouterr().err


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
