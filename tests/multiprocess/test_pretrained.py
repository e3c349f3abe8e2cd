"""A run of members that start from a given language model: no corpus, and the weights that were given."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ulmfit_dist.corpus.documents import read_documents
from ulmfit_dist.files import read_json

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

RECIPE = """
name = "given"
units = ["word"]
directions = ["forward"]
[task]
source = "task.csv"
valid_share = 0.2
test_share = 0.2
[pretrained]
word-forward = "lm"
[finetune]
max_vocab = 100
min_freq = 1
[finetune.training]
epochs = 1
num_lanes = 2
[classifier]
epochs = 1
[classifier.training]
batch_size = 8
"""


def test_a_member_is_fine_tuned_from_the_model_that_was_given(tmp_path: Path, launching: ModuleType) -> None:
    inputs = launching.write_task(tmp_path)
    documents = [one for split in ("train", "valid") for one in read_documents(inputs[split])]
    with (tmp_path / "task.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["label", "text"])
        rows.writerows((one.label, f"{one.text} {i}") for i, one in enumerate(documents))
    (tmp_path / "r.toml").write_text(RECIPE)
    run = tmp_path / "run"
    command = [sys.executable, "-m", "ulmfit_dist", "run", str(tmp_path / "r.toml"), "--run-dir", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    names = {path.name.rpartition("-")[0] for path in (run / "stages").iterdir()}
    assert not {name for name in names if name.startswith(("ingest-corpus", "tokeniz", "pretrain"))}
    (tuned,) = (run / "stages").glob("finetune-word-forward-*/model/config.json")
    given = read_json(inputs["model"] / "config.json")
    history = read_json(tuned)["training"]["from"]
    assert history["encoder_fingerprint"] == given["encoder_fingerprint"]
    assert (run / "report.html").stat().st_size > 10_000
