"""A search by a coordinator on a real Ray, stopped and started again: the best trial's model is a plain training's."""

from __future__ import annotations

import contextlib
import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from ulmfit_dist.cluster import scheduling
from ulmfit_dist.cluster.console import make_watch
from ulmfit_dist.cluster.coordinator import Coordinator
from ulmfit_dist.cluster.ledger import Capacity
from ulmfit_dist.cluster.plan import Plan, SourceDigests, StageSpec, make_plan
from ulmfit_dist.cluster.session import Where
from ulmfit_dist.cluster.stopping import CANCEL_NAME
from ulmfit_dist.errors import StoppedError
from ulmfit_dist.events import Silent, read_events
from ulmfit_dist.files import digest_file, read_json
from ulmfit_dist.finetune.classifier import train_classifier
from ulmfit_dist.finetune.search import SearchClassifierSettings, trial_folder, trial_settings
from ulmfit_dist.stage import StageCall
from ulmfit_dist.stages import STAGES

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

EPOCHS = 30
# The second trial's rate is so low that it is worse from the first epochs on.
SETTINGS = SearchClassifierSettings.model_validate(
    {
        "epochs": EPOCHS,
        "lr": 0.02,
        "unfreezing": "multifit",
        "training": {"batch_size": 8, "device": "cpu", "log_points": 1000, "checkpoint_steps": 1},
        "search": {"trials": 2, "grace_epochs": 1, "reduction": 2, "parameters": {"classifier.lr": [1e-7]}},
    }
)


@pytest.fixture
def _session(local_ray: Capacity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "ray_session", lambda _: contextlib.nullcontext(local_ray))


def _run(plan: Plan, run_dir: Path) -> None:
    Coordinator(plan, STAGES, run_dir, make_watch(Console(stderr=True))).execute(Where())


@pytest.mark.usefixtures("_session")
def test_the_best_trials_model_is_a_plain_trainings_also_after_a_stop(tmp_path: Path, launching: ModuleType) -> None:
    folders: dict[str, Path] = launching.write_task(tmp_path / "task")
    task, run_dir = {name: folders[name] for name in ("model", "train", "valid")}, tmp_path / "run"
    spec = StageSpec("classifier-word-forward", "search-classifier", SETTINGS, task)
    plan = make_plan([spec], STAGES, run_dir, SourceDigests(None))
    out = plan.stages[spec.name].folder
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(_run, plan, run_dir)
        launching.wait_for(lambda: launching.events(trial_folder(out, 0), "validation"))
        (run_dir / CANCEL_NAME).touch()
        with pytest.raises(StoppedError, match="cancelled by request"):
            running.result()
    assert 0 < len(launching.events(trial_folder(out, 0), "validation")) < EPOCHS
    kept = tmp_path / "kept.jsonl"
    kept.hardlink_to(trial_folder(out, 0) / "events.jsonl")  # the trials' folders go at the end

    _run(plan, run_dir)

    steps = [event["step"] for event in read_events(kept) if event["kind"] == "validation"]
    assert len(steps) == len(set(steps)) == EPOCHS
    assert [event for event in read_events(kept) if event["kind"] == "resumed"]
    first, second = read_json(out / "trials.json")["trials"]
    assert (first["state"], first["epochs"]) == ("done", EPOCHS)
    assert read_json(out / "stage.json")["summary"]["search"]["trial"] == 0
    # ASHA decides while a trial trains on: that may be some of these tiny epochs, but not all.
    assert second["state"] == "stopped"
    assert 1 <= second["epochs"] < EPOCHS
    with (out / "trials.csv").open(newline="") as file:
        assert [(row["best"], row["classifier.lr"]) for row in csv.DictReader(file)] == [("1", ""), ("0", "1e-07")]

    alone = tmp_path / "alone"
    train_classifier(StageCall(trial_settings(SETTINGS, {}), task, alone, Silent()))
    for name in ("model/model.safetensors", "predictions-valid.parquet"):
        assert digest_file(out / name) == digest_file(alone / name)
    assert not (out / "trials").exists()
    assert not (out / "ray_tune").exists()
