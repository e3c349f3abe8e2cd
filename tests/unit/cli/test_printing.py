"""What is printed of a run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ulmfit_dist.cli import printing
from ulmfit_dist.cli.printing import print_json, print_languages, print_result, run_json
from ulmfit_dist.files import write_json

MEASURE = {"value": 0.5, "low": 0.25, "high": 0.75}


def _result(folder: Path, *, evaluated: bool) -> SimpleNamespace:
    row = {"name": "x", "accuracy": MEASURE, "macro_f1": MEASURE}
    metrics = {"final": "x", "headline": ["accuracy", "macro_f1"], "systems": [row]}
    write_json(folder / "metrics.json", metrics)
    stages = {"evaluate": SimpleNamespace(folder=folder)} if evaluated else {}
    plan = SimpleNamespace(stages=stages)
    return SimpleNamespace(plan=plan, run_dir=folder, ran=["a"], report=folder / "report.html")


def test_a_result_shows_its_scores_and_its_report_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    print_result(_result(tmp_path, evaluated=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["on", "the", "test", "split", "accuracy", "95", "%", "interval", "macro-F1"]
    assert lines[1].split() == ["x", "50.0%", "25.0%", "-", "75.0%", "0.500"]
    assert lines[-1] == "report: report.html"
    print_result(_result(tmp_path, evaluated=False))
    assert capsys.readouterr().out == "report: report.html\n"


def test_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(run_json(_result(tmp_path, evaluated=True)))
    told = json.loads(capsys.readouterr().out)
    assert told["metrics"]["final"] == "x"
    assert told["stages"] == 1
    print_json({"word": "élan"})
    assert "élan" in capsys.readouterr().out


def test_a_path_is_shown_from_here_also_where_here_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(tmp_path)
    assert printing._from_here(tmp_path / "run" / "report.html") == Path("run/report.html")
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert printing._from_here(tmp_path / "report.html") == tmp_path / "report.html"
    monkeypatch.undo()


MEMBER = {"member": "word-forward", "tokens": 12345, "perplexity": 88.25, "bits_per_character": 1.5, "hours": 0.5}
ROWS = [
    {
        "language": "fi",
        "documents": 4321,
        "state": "done",
        "reason": "",
        "hours": 0.5,
        "members": [{**MEMBER, "unknown_rate": 0.0125}, {**MEMBER, "member": "subword-forward", "unknown_rate": 0.0}],
    },
    {
        "language": "fo",
        "documents": 0,
        "state": "failed",
        "reason": "tokenizer-subword: no text",
        "hours": 0.0,
        "members": [
            {"member": "subword-forward", "tokens": None, "hours": 0.0}
            | dict.fromkeys(("perplexity", "bits_per_character", "unknown_rate"))
        ],
    },
]


def test_languages_are_a_table_and_a_failed_one_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_languages(tmp_path, as_json=False)
    assert capsys.readouterr().out == ""
    write_json(tmp_path / "languages.json", ROWS)
    print_languages(tmp_path, as_json=False)
    said = capsys.readouterr()
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[1] == ["fi", "4,321", "word-forward", "12,345", "88.2", "1.500", "1.25%", "0.50"]
    assert lines[2][0] == "subword-forward"
    assert lines[3] == ["fo", "0", "subword-forward", "0", "0.00"]
    assert lines[4] == ["failed"]
    assert said.err == "fo: tokenizer-subword: no text\n"
    print_languages(tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"run_dir": str(tmp_path), "languages": ROWS}
    print_result(_result(tmp_path, evaluated=False))
    assert "4,321" in capsys.readouterr().out
    assert run_json(_result(tmp_path, evaluated=False))["languages"] == ROWS
