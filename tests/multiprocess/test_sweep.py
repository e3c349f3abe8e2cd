"""A small sweep from raw text to its comparison, as a user starts it on an embedded Ray: what runs share runs once."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ulmfit_dist.config import data_folder
from ulmfit_dist.files import read_json

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

RECIPE = """
name = "sweep"
units = ["word"]
directions = ["forward"]
[corpus]
sources = ["polarity.csv"]
valid_share = 0.2
[task]
source = "polarity.csv"
unlabelled = "polarity.csv"
valid_share = 0.2
[tokenizers.word]
recipe = "en/word_60k"
change = { max_vocab = 300, min_freq = 2 }
[model]
embedding_size = 8
hidden_size = 12
num_layers = 2
[pretrain.training]
epochs = 0
num_lanes = 2
[finetune]
max_vocab = 300
[finetune.training]
epochs = 0
frozen_epochs = 0
num_lanes = 2
[classifier]
unfreezing = "multifit"
epochs = 1
[classifier.pseudo]
rounds = 1
confidence = 0.5
[evaluate.bootstrap]
resamples = 1000
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    with gzip.open(data_folder("launch") / "data" / "quickstart" / "mr.csv.gz", "rt", newline="") as source:
        rows = list(csv.reader(source))
    with (folder / "polarity.csv").open("w", newline="") as out:
        csv.writer(out).writerows(rows[:80] + rows[-80:])
    (folder / "sweep.toml").write_text(RECIPE)
    return folder / "sweep.toml"


def test_a_sweep_is_run_and_compared(recipe: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ulmfit_dist", "run", str(recipe), "--run-dir", str(tmp_path), "--cpus", "2"]
    done = subprocess.run(
        [*command, "--json", "--folds", "2", "--train-sizes", "20,30"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    stages = {row["name"]: tmp_path / row["folder"] for row in read_json(tmp_path / "plan.json")["stages"]}
    plain = [name.partition("@")[0] for name in stages]
    assert said["ran"] == len(stages)
    assert {name: plain.count(name) for name in plain} == {
        "ingest-corpus": 1,
        "ingest-task": 2,
        "ingest-unlabelled": 1,
        "tokenizer-word": 1,
        "tokenize-word": 1,
        "pretrain-word-forward": 1,
        "finetune-word-forward": 2,
        "classifier-word-forward": 4,
        "ensemble": 4,
        "baseline": 4,
        "leakage": 2,
        "evaluate": 4,
        "compare": 1,
    }
    rows = {(row["label"], row["kind"]): row for row in said["comparison"]["rows"]}
    assert {label for label, _ in rows} == {"train_size=20", "train_size=30"}
    baseline = rows["train_size=30", "baseline"]
    assert (baseline["training_documents"], baseline["interval"]) == (30, "t over 2 folds")
    # Both folds' test splits together are every document once, and pooled they are one test.
    metrics = [read_json(stages[f"evaluate@train_size=30,fold={fold}"] / "metrics.json") for fold in (0, 1)]
    documents = [one["test"]["documents"] for one in metrics]
    kept = read_json(stages["ingest-task@fold=0"] / "stage.json")["summary"]["documents"]
    assert sum(documents) == sum(kept.values())
    right = sum(one["systems"][0]["accuracy"]["value"] * count for one, count in zip(metrics, documents, strict=True))
    assert rows["train_size=30", "member"]["pooled"]["accuracy"] == pytest.approx(right / sum(documents))
    classifier = read_json(stages["classifier-word-forward@train_size=30,fold=1"] / "stage.json")
    assert [row["round"] for row in classifier["summary"]["rounds"]] == [1]
    assert "By the number of labels" in (tmp_path / "report.html").read_text(encoding="utf-8")
