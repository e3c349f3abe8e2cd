"""A classifier on two ranks under a real Ray: started by the coordinator like any stage, and equal to one rank's."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from ulmfit_dist.cluster import scheduling
from ulmfit_dist.cluster.classifying import train_classifier
from ulmfit_dist.cluster.coordinator import Coordinator
from ulmfit_dist.cluster.ledger import Capacity
from ulmfit_dist.cluster.plan import SourceDigests, StageSpec, make_plan
from ulmfit_dist.cluster.session import Where
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent, read_events
from ulmfit_dist.files import read_json
from ulmfit_dist.finetune.classifier import TrainClassifierSettings
from ulmfit_dist.finetune.predictions import read_predictions
from ulmfit_dist.stage import RECORD_NAME, StageCall, stage_reporter
from ulmfit_dist.stages import STAGES

pytestmark = pytest.mark.ray

# Few steps: what rounds otherwise grows with them (see below).
SETTINGS: dict[str, Any] = {
    "unfreezing": "2018",
    "epochs": 2,
    "training": {"batch_size": 8, "device": "cpu", "log_points": 1000, "checkpoint_steps": 7},
}


class Unseen:
    def started(self, stage: str) -> None: ...
    def progress(self, stage: str, event: dict[str, object]) -> None: ...
    def ended(self, stage: str, outcome: str, seconds: float) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def _use_session_ray(local_ray: Capacity, monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def __init__(self, _: Where) -> None: ...
        def __enter__(self) -> Capacity:
            return local_ray

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(scheduling, "ray_session", Session)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, launching: ModuleType) -> dict[str, Path]:
    """An untrained language model and a task for it; 43 documents in batches of 8 leave one of three."""
    found: dict[str, Path] = launching.write_task(tmp_path_factory.mktemp("task"))
    return found


def _run(run: Path, inputs: dict[str, Path], workers: int) -> Path:
    settings = TrainClassifierSettings.model_validate({**SETTINGS, "workers": workers})
    specs = [StageSpec("classifier", "train-classifier", settings, inputs, cpus=workers)]
    plan = make_plan(specs, STAGES, run, SourceDigests(None))
    Coordinator(plan, STAGES, run, Unseen()).execute(Where())
    return plan.stages["classifier"].folder


def test_two_ranks_make_the_classifier_of_one(inputs: dict[str, Path], tmp_path: Path) -> None:
    one, two = (_run(tmp_path / str(workers), inputs, workers) for workers in (1, 2))
    assert one.name == two.name  # the number of ranks is no part of what the stage is
    started = [event for event in read_events(two / "events.jsonl") if event["kind"] == "rank-started"]
    assert sorted((event["rank"], event["world_size"]) for event in started) == [(0, 2), (1, 2)]
    outputs = [set(read_json(folder / RECORD_NAME)["outputs"]) for folder in (one, two)]
    assert outputs[0] == outputs[1]

    points, others = (read_json(folder / "curves.json")["points"] for folder in (one, two))
    assert len(points) == len(others) == 24
    # Measured 5e-6; one rank with initial weights of another last bit differs from itself by as much.
    for ours, theirs in zip(points, others, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
    weights, other_weights = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    for name, tensor in weights.items():
        torch.testing.assert_close(other_weights[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    expected, found = (read_predictions(folder / "predictions-valid.parquet")["probabilities"] for folder in (one, two))
    assert found.ids == expected.ids
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    sizes = [read_json(folder / "model" / "config.json")["training"]["world_size"] for folder in (one, two)]
    assert sizes == [1, 2]


@pytest.mark.slow
def test_a_killed_rank_is_replaced_and_the_result_is_the_same(inputs: dict[str, Path], tmp_path: Path) -> None:
    settings = TrainClassifierSettings.model_validate({**SETTINGS, "workers": 2, "epochs": 300})
    calls = [StageCall(settings, inputs, tmp_path / name, stage_reporter(tmp_path / name)) for name in ("a", "b")]

    def kill_one() -> None:
        while not list(calls[1].out.glob("checkpoints/step-*/manifest.json")):
            time.sleep(0.05)
        (one, *_) = (p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in " ".join(p.cmdline()))
        one.kill()

    train_classifier(calls[0])
    killer = threading.Thread(target=kill_one)
    killer.start()
    train_classifier(calls[1])
    killer.join()
    kinds = [event["kind"] for event in read_events(calls[1].out / "events.jsonl")]
    assert kinds.count("rank-started") == 4
    assert "resumed" in kinds
    weights = [(call.out / "model" / "model.safetensors").read_bytes() for call in calls]
    assert weights[0] == weights[1]


def test_what_the_ranks_refuse_is_said_as_one_rank_says_it(inputs: dict[str, Path], tmp_path: Path) -> None:
    settings = TrainClassifierSettings.model_validate({**SETTINGS, "workers": 2})
    call = StageCall(settings, {**inputs, "valid": inputs["unlabelled"]}, tmp_path, Silent())
    with pytest.raises(InputError, match="has documents without a label"):
        train_classifier(call)


def test_ranks_that_can_never_fit_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    settings = TrainClassifierSettings.model_validate({**SETTINGS, "workers": 5})
    with pytest.raises(InputError, match=r"5 ranks of 1 CPU each do not fit.*lower resources.classifier_workers"):
        train_classifier(StageCall(settings, inputs, tmp_path, Silent()))
