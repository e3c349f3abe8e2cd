"""Texts to predict: lines, tables and standard input, in their order."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ulmfit_dist.errors import InputError
from ulmfit_dist.serve import inputs
from ulmfit_dist.serve.inputs import read_texts


def test_a_text_file_has_one_text_a_line(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("\ufeffb, \u2028c\r\n\n  \na\x85 \n".encode())
    assert read_texts(tmp_path / "t.txt") == ["b, \u2028c", "a\x85 "]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "sys", SimpleNamespace(stdin=SimpleNamespace(buffer=io.BytesIO(b"z\na"))))
    assert read_texts(Path("-")) == ["z", "a"]


def test_tables_give_their_fields_in_the_order_that_is_asked(tmp_path: Path) -> None:
    rows = [{"title": "t1", "text": "b\nc"}, {"title": "", "text": "a"}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_texts(tmp_path / "t.jsonl") == ["b\nc", "a"]
    assert read_texts(tmp_path / "t.jsonl", ["title", "text"]) == ["t1\x1fb\nc", "\x1fa"]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b'text,title\n"b\nc",t1\na,\n'))
    assert read_texts(tmp_path / "t.csv.gz", ["title", "text"]) == ["t1\x1fb\nc", "\x1fa"]
    (tmp_path / "2018.csv").write_text("1,t1,b\n0,,a\n")
    assert read_texts(tmp_path / "2018.csv") == ["t1\x1fb", "\x1fa"]


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"\xff")
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(InputError, match="cannot read"):
        read_texts(tmp_path / "t.txt")
    with pytest.raises(InputError, match="cannot read"):
        read_texts(tmp_path / "nothing")
    with pytest.raises(InputError, match="1 rows of"):
        read_texts(tmp_path / "t.jsonl")
    with pytest.raises(InputError, match="body"):
        read_texts(tmp_path / "t.jsonl", ["body"])
    with pytest.raises(InputError, match="only a table has fields"):
        read_texts(tmp_path / "t.txt", ["body"])
