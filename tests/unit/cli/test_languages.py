"""`ulmfit new-language`: what it prints, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

UDHR = Path(__file__).resolve().parents[2] / "data" / "udhr"
FREE = ("--licence", "public domain")


def test_it_says_what_it_found(ulmfit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ulmfit("new-language", "tr", UDHR / "tr.txt", *FREE, "--tokenizers", tmp_path) == 0
    said = capsys.readouterr().out
    assert "script: Latn" in said
    assert "words: tr (spaCy has rules for it)" in said
    assert "pieces: 99.999 % of the characters\n" in said
    assert (tmp_path / "tr" / "golden.jsonl").is_file()


def test_as_json(ulmfit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ulmfit("new-language", "ru", UDHR / "ru.txt", *FREE, "--tokenizers", tmp_path, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["code"], said["script"], said["folder"]) == ("ru", "Cyrl", str(tmp_path / "ru"))


def test_a_mistake_is_a_sentence_and_two(
    ulmfit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ulmfit("new-language", "hi", UDHR / "ru.txt", *FREE, "--tokenizers", tmp_path) == 2
    assert "in no script of hi" in capsys.readouterr().err
    assert ulmfit("new-language", "hi", UDHR / "hi.txt", "--tokenizers", tmp_path) == 2
    assert "--licence" in capsys.readouterr().err
