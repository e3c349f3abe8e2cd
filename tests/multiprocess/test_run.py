"""The whole system as a user starts it: one command, killed -9 with all its processes, the same command again.

The recipe is the quickstart's with less text and smaller models. Two runs: one undisturbed, one killed at two moments;
what they leave must be the same bytes, times and event files aside.
"""

from __future__ import annotations

import csv
import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ulmfit_dist.config import data_folder
from ulmfit_dist.events import read_events
from ulmfit_dist.files import digest_file

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

RECIPE = """
name = "small"
seed = 3
units = ["word"]
directions = ["backward"]
[corpus]
sources = ["reviews.csv", "{warc}"]
languages = ["en"]
valid_share = 0.1
item_characters = 30_000
[task]
source = "polarity.csv"
valid_share = 0.2
test_share = 0.2
[tokenizers.word]
recipe = "en/word_60k"
change = {{ max_vocab = 800, min_freq = 2 }}
[model]
embedding_size = 16
hidden_size = 24
num_layers = 2
[pretrain.training]
epochs = 1
num_lanes = 4
bptt = 30
checkpoint_steps = 20
[finetune]
max_vocab = 800
[finetune.training]
epochs = 1
frozen_epochs = 1
num_lanes = 4
[resources]
pretrain_workers = 2
"""
# Files that hold times or come from other libraries' clocks.
TIMED = ("stage.json", "events.jsonl", "curves.json", "owner.json", "report.json")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    data = data_folder("launch") / "data" / "quickstart"
    with gzip.open(data / "movie_reviews.csv.gz", "rt", newline="") as source:
        reviews = list(csv.reader(source))[:41]
    with (folder / "reviews.csv").open("w", newline="") as out:
        csv.writer(out).writerows(reviews)
    with gzip.open(data / "mr.csv.gz", "rt", newline="") as source:
        rows = list(csv.reader(source))
    with (folder / "polarity.csv").open("w", newline="") as out:
        csv.writer(out).writerows(rows[:150] + rows[-150:])
    path = folder / "small.toml"
    path.write_text(RECIPE.format(warc=data / "sample.warc.gz"))
    return path


def start(recipe: Path, run_dir: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "ulmfit_dist",
        "run",
        str(recipe),
        "--run-dir",
        str(run_dir),
        "--cpus",
        "2",
        "--json",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(recipe: Path, run_dir: Path) -> tuple[dict[str, object], float]:
    started = time.monotonic()
    with start(recipe, run_dir) as process:
        out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return json.loads(out), time.monotonic() - started


def kill_tree(process: subprocess.Popen[str]) -> None:
    """SIGKILL the driver and everything below it at once, as a power cut would."""
    driver = psutil.Process(process.pid)
    victims = [driver, *driver.children(recursive=True)]
    for victim in victims:
        try:
            victim.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(victims, timeout=10)


def _kill_when(recipe: Path, run_dir: Path, pattern: str) -> None:
    """Start the run and kill it once a file of the pattern is there."""
    with start(recipe, run_dir) as process:
        deadline = time.monotonic() + 200
        while not list(run_dir.glob(pattern)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, f"no {pattern} appeared"
            time.sleep(0.02)
        kill_tree(process)


def output_bytes(run_dir: Path) -> dict[str, str]:
    plan = json.loads((run_dir / "plan.json").read_text())
    return {
        str(path.relative_to(run_dir)): digest_file(path)
        for stage in plan["stages"]
        for path in sorted((run_dir / stage["folder"]).rglob("*"))
        if path.is_file() and path.name not in TIMED and "tensorboard" not in path.parts
    }


def test_killed_anywhere_the_same_command_gives_the_same_result(recipe: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first, _ = finish(recipe, whole)
    assert first["ran"] == first["stages"]
    assert {row["name"] for row in first["metrics"]["systems"]} >= {"word-backward", "tf-idf + LR"}  # type: ignore[index]

    _kill_when(recipe, killed, "stages/tokenize-word-*/scratch/receipts/train/*.json")
    _kill_when(recipe, killed, "stages/pretrain-word-*/checkpoints/*/manifest.json")
    second, _ = finish(recipe, killed)
    assert int(str(second["ran"])) < int(str(first["ran"]))
    events = read_events(killed / "events.jsonl")
    ends = [event["name"] for event in events if event["kind"] == "stage-finished"]
    assert len(ends) == len(set(ends)), "a finished stage ran again"

    reference, found = output_bytes(whole), output_bytes(killed)
    assert set(found) == set(reference)
    assert {name for name in found if found[name] != reference[name]} == set()
    assert not list(killed.rglob("*.tmp-*"))

    again, seconds = finish(recipe, killed)
    assert again["ran"] == 0
    assert again["metrics"] == first["metrics"]
    assert seconds < 20
    verified = subprocess.run(
        [sys.executable, "-m", "ulmfit_dist", "verify", str(killed), "--retokenize", "5"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert verified.returncode == 0, verified.stdout
    assert (killed / "report.html").stat().st_size > 50_000
