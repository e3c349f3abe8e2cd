"""Runs side by side: means and intervals over what repeats, pooled folds, differences on the same repeats."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.files import read_json, write_json
from ulmfit_dist.finetune.compare import ComparedRun, CompareSettings, compare_runs
from ulmfit_dist.finetune.measures import OneClass
from ulmfit_dist.stage import StageCall, Summary

HEADLINE = ["accuracy", "macro_f1"]
FINAL, BASELINE = "word-forward", "tf-idf + LR"


def _metrics(
    accuracy: float, baseline: float = 0.5, target: str = "multiclass", documents: int = 100
) -> dict[str, Any]:
    def row(name: str, kind: str, value: float) -> dict[str, Any]:
        measured = {"value": value, "low": value - 0.1, "high": value + 0.1}
        return {"name": name, "kind": kind, "accuracy": measured, "macro_f1": measured, "sums": _sums(value)}

    rows = [row(FINAL, "member", accuracy), row(BASELINE, "baseline", baseline)]
    rows.append(row("majority class", "majority", 0.5) | {"documents": documents})
    return {"target": target, "headline": HEADLINE, "labels": ["a", "b"], "final": FINAL, "systems": rows}


def _sums(accuracy: float, documents: int = 20) -> list[float]:
    """Of so many documents, half of each class, this share right in both."""
    targets = np.arange(documents) % 2
    wrong = np.arange(documents) >= round(accuracy * documents)
    return OneClass(2).rows(targets, np.where(wrong, 1 - targets, targets)).sum(0).tolist()


def _compare(folder: Path, runs: list[tuple[ComparedRun, dict[str, Any]]], level: float = 0.95) -> Summary:
    inputs = {}
    for number, (_, metrics) in enumerate(runs):
        inputs[f"run-{number:05d}"] = folder / f"{number}.json"
        write_json(folder / f"{number}.json", metrics)
    settings = CompareSettings(runs=[run for run, _ in runs], level=level)
    return compare_runs(StageCall(settings, inputs, folder, Silent()))


def _row(folder: Path, label: str, system: str = FINAL) -> dict[str, Any]:
    rows = read_json(folder / "comparison.json")["rows"]
    return next(row for row in rows if (row["label"], row["system"]) == (label, system))


def test_seeds_give_a_t_interval(tmp_path: Path) -> None:
    values = [0.8, 0.9, 0.85, 0.7]
    runs = [(ComparedRun(repeat=f"seed={i}"), _metrics(value)) for i, value in enumerate(values)]
    summary = _compare(tmp_path, runs, level=0.9)
    row = _row(tmp_path, "")
    found = row["measures"]["accuracy"]
    expected = stats.t.interval(0.9, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found["low"], found["high"]) == pytest.approx(expected)
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["deviation"] == pytest.approx(np.std(values, ddof=1))
    assert (row["runs"], row["interval"], row["pooled"]) == (4, "t over 4 runs", None)
    assert summary["finals"][""] == found


def test_an_interval_of_shares_stays_between_nothing_and_all(tmp_path: Path) -> None:
    _compare(tmp_path, [(ComparedRun(repeat=f"seed={i}"), _metrics(value)) for i, value in enumerate((0.2, 0.9))])
    found = _row(tmp_path, "")["measures"]["accuracy"]
    assert (found["low"], found["high"]) == (0.0, 1.0)


def test_a_single_run_keeps_the_interval_over_its_documents(tmp_path: Path) -> None:
    runs = [(ComparedRun(label=label), _metrics(value)) for label, value in (("a", 0.8), ("b", 0.9))]
    _compare(tmp_path, runs)
    row = _row(tmp_path, "b")
    assert row["interval"] == "bootstrap over documents"
    assert row["measures"]["accuracy"] == {
        "mean": 0.9,
        "deviation": None,
        "low": 0.8,
        "high": 1.0,
        "values": [0.9],
    }


def test_folds_are_pooled_and_their_seeds_averaged_first(tmp_path: Path) -> None:
    accuracies = {("seed=1", 0): 0.6, ("seed=1", 1): 0.8, ("seed=2", 0): 0.7, ("seed=2", 1): 1.0}
    runs = [(ComparedRun(repeat=seed, fold=fold), _metrics(a)) for (seed, fold), a in accuracies.items()]
    _compare(tmp_path, runs)
    row = _row(tmp_path, "")
    assert row["interval"] == "t over 2 folds"
    assert row["measures"]["accuracy"]["values"] == pytest.approx([0.65, 0.9])
    # 20 documents a fold: the mean over seeds of the accuracy on both folds' 40.
    assert row["pooled"]["accuracy"] == pytest.approx(np.mean([(12 + 16) / 40, (14 + 20) / 40]))


def test_differences_are_paired(tmp_path: Path) -> None:
    ours, theirs = [0.9, 0.7, 0.8], [0.85, 0.66, 0.73]
    runs = [
        (ComparedRun(label=label, compared={"variant": label}, repeat=f"seed={i}"), _metrics(value, baseline=0.95))
        for label, values in (("full", ours), ("less", theirs))
        for i, value in enumerate(values)
    ]
    _compare(tmp_path, runs)
    between, *own = read_json(tmp_path / "comparison.json")["differences"]
    expected = np.subtract(theirs, ours)
    interval = stats.t.interval(0.95, 2, loc=expected.mean(), scale=stats.sem(expected))
    assert (between["label"], between["with_label"], between["pairs"]) == ("less", "full", 3)
    assert (between["mean"], between["low"], between["high"]) == pytest.approx((expected.mean(), *interval))
    assert [(row["label"], row["with_system"]) for row in own] == [("full", BASELINE), ("less", BASELINE)]
    assert own[0]["mean"] == pytest.approx(np.mean(ours) - 0.95)


def test_the_table_says_the_same(tmp_path: Path) -> None:
    runs = [(ComparedRun(label=f"n={n}"), _metrics(n / 100, documents=n)) for n in (60, 80)]
    _compare(tmp_path, runs)
    rows = list(csv.DictReader((tmp_path / "comparison.csv").open()))
    assert len(rows) == 2 * 3 * len(HEADLINE)
    assert rows[0]["label"] == "n=60"
    assert (float(rows[0]["mean"]), rows[0]["training_documents"], rows[0]["pooled"]) == (0.6, "60", "")


def test_other_kinds_of_labels_are_refused(tmp_path: Path) -> None:
    runs = [(ComparedRun(label=target), _metrics(0.6, target=target)) for target in ("multiclass", "regression")]
    with pytest.raises(InputError, match="multiclass, regression"):
        _compare(tmp_path, runs)
