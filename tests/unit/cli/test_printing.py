"""What is printed of a run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ulmfit_dist.cli import printing
from ulmfit_dist.cli.printing import print_json, print_result, run_json
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
