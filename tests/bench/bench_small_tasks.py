"""TREC-6 and mr with language models of twenty files of Wikipedia: what pretraining gives, the ensemble, few labels.

    ULMFIT_WIKI=... ULMFIT_SMALL_EN=... ULMFIT_RESULTS=folder pytest -m slow -s tests/bench/bench_small_tasks.py

ULMFIT_WIKI: wikiextractor files, of which the first twenty are read (20 MB). ULMFIT_SMALL_EN: folders trec6/
(train.csv, test.csv) and mr/ (all.csv), label first. Everything is `ulmfit run` of recipes with launch/imdb.toml as
base, in one run directory below ULMFIT_RESULTS: the language models are made once. ULMFIT_GPUS: how many, 0 for none.

Four members, three seeds of what comes after pretraining; without pretraining the language models see the task's text
alone. Settings were set beforehand, none by these test splits.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from ulmfit_dist.files import read_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(36_000)]
FILES = 20
GPUS = int(os.environ.get("ULMFIT_GPUS", "0"))
CPUS = len(os.sched_getaffinity(0))
NO_PRETRAINING = {"pretrain.training.epochs": 0}
VARIANTS = {"pretrained": {}, "no-pretraining": NO_PRETRAINING}
SIZES = [100, 200, 500, 1000, 2000, 5000]


def _recipe(name: str, task: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A recipe over launch/imdb.toml. 20 MB are 0.04 of what imdb.toml is for: fewer words and pieces, more epochs."""
    wiki = sorted(Path(os.environ["ULMFIT_WIKI"]).iterdir())[:FILES]
    return {
        "base": "imdb",
        "name": name,
        "corpus": {"sources": [str(path) for path in wiki], "item_characters": 2_000_000, "valid_share": 0.02},
        "task": task,
        "tokenizers": {"word": {"change": {"max_vocab": 30_000}}, "subword": {"change": {"vocab_size": 10_000}}},
        "pretrain": {"training": {"num_lanes": 128, "epochs": 10}},
        "finetune": {"min_freq": 1, "training": {"num_lanes": 16, "epochs": 8}},
        "classifier": {"epochs": 8, "training": {"batch_size": 32}},
        "resources": {
            "ingest_workers": min(8, CPUS),
            "tokenizing_workers": min(8, CPUS),
            "pretrain_gpus_per_worker": 0.5 if GPUS else 0.0,
            "task_gpus": 0.1 if GPUS else 0.0,
        },
    } | changes


def _run(recipe: dict[str, Any], *options: str) -> Path:
    """Run a recipe; return the folder of its comparison."""
    folder = Path(os.environ["ULMFIT_RESULTS"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{recipe['name']}.toml"
    path.write_text(tomli_w.dumps(recipe), encoding="utf-8")
    changes = [part for change in os.environ.get("ULMFIT_SET", "").split() for part in ("--set", change)]
    command = [sys.executable, "-m", "ulmfit_dist", "run", str(path), "--run-dir", str(folder / "run")]
    started = time.monotonic()
    subprocess.run([*command, *changes, *options], check=True)
    print(f"{recipe['name']}: {time.monotonic() - started:.0f} s")
    return max((folder / "run" / "stages").glob("compare-*"), key=lambda found: found.stat().st_mtime)


def _shown(comparison: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    rows = {(row["label"], row["system"]): row for row in comparison["rows"]}
    for (label, system), row in rows.items():
        found = row["measures"]["accuracy"]
        print(f"{label:28} {system:28} {found['mean']:.4f} [{found['low']:.4f}, {found['high']:.4f}] {row['interval']}")
    return rows


def _check(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    def accuracy(row: dict[str, Any]) -> float:
        return float(row["measures"]["accuracy"]["mean"])

    pretrained = [row for (label, _), row in rows.items() if "no-pretraining" not in label]
    best = max(accuracy(row) for row in pretrained if row["kind"] == "member" and not row["final"])
    ensemble = next(accuracy(row) for row in pretrained if row["final"])
    without = next(accuracy(row) for (label, _), row in rows.items() if "no-pretraining" in label and row["final"])
    print(f"ensemble {ensemble:.4f}, best member {best:.4f}, ensemble without pretraining {without:.4f}")
    assert ensemble > without
    assert ensemble > best


def test_trec() -> None:
    small = Path(os.environ["ULMFIT_SMALL_EN"]) / "trec6"
    task = {"train": str(small / "train.csv"), "test": str(small / "test.csv")}
    folder = _run(_recipe("trec6-small", task, variants=VARIANTS), "--seeds", "1,2,3")
    _check(_shown(read_json(folder / "comparison.json")))


def test_mr() -> None:
    task = {"source": str(Path(os.environ["ULMFIT_SMALL_EN"]) / "mr" / "all.csv")}
    folder = _run(_recipe("mr-small", task, variants=VARIANTS), "--seeds", "1,2,3")
    _check(_shown(read_json(folder / "comparison.json")))


def test_few_labels() -> None:
    """One forward model of words whose language model saw all of the text; three draws of each size."""
    task = {"source": str(Path(os.environ["ULMFIT_SMALL_EN"]) / "mr" / "all.csv")}
    grid = {"classifier.train_size": SIZES, "classifier.training.seed": [1, 2, 3]}
    folder = _run(_recipe("mr-few", task, units=["word"], directions=["forward"], grid=grid))
    rows = _shown(read_json(folder / "comparison.json"))
    assert len({label for label, _ in rows}) == len(SIZES)
    finals = [row["measures"]["accuracy"]["mean"] for row in rows.values() if row["final"]]
    assert finals[-1] > finals[0]
