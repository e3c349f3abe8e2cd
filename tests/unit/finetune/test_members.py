"""Ensemble folders: the mean of tempered members, labels by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import read_documents
from ulmfit_dist.events import Silent
from ulmfit_dist.finetune.calibration import apply_temperature
from ulmfit_dist.finetune.ensemble import EnsembleSettings, make_ensemble
from ulmfit_dist.finetune.members import open_ensemble
from ulmfit_dist.finetune.predict import open_classifier
from ulmfit_dist.stage import StageCall


def texts_of(folder: Path) -> list[str]:
    return [document.text for document in read_documents(folder)]


def call(settings: Settings, out: Path, **inputs: Path) -> StageCall[Any]:
    return StageCall(settings, inputs, out, Silent())


def test_the_ensemble_is_the_mean_of_its_tempered_members(ensemble: Path, members: Path, task: Path) -> None:
    config = json.loads((ensemble / "ensemble.json").read_text())
    assert [row["name"] for row in config["members"]] == ["subword-backward", "word-forward"]
    texts = texts_of(task / "test")
    expected = np.zeros((len(texts), 2))
    for row in config["members"]:
        own = open_classifier(members / row["name"] / "model").predict(texts)
        expected += apply_temperature(own, row["temperature"]) / 2
    expected = apply_temperature(expected, config["temperature"])
    assert open_ensemble(ensemble).predict(texts) == pytest.approx(expected, abs=1e-9)
    assert open_ensemble(ensemble).predict([]).shape == (0, 2)
    moved = ensemble.parent / "moved"
    shutil.copytree(ensemble, moved)
    assert open_ensemble(moved).predict(texts) == pytest.approx(expected, abs=1e-9)


def test_a_members_own_order_of_labels_does_not_matter(members: Path, task: Path, tmp_path: Path) -> None:
    member = members / "word-forward" / "model"
    turned = shutil.copytree(member, tmp_path / "turned")
    config = json.loads((turned / "config.json").read_text())
    (turned / "config.json").write_text(json.dumps(config | {"labels": ["pos", "neg"]}))
    inputs = {"member-a": member, "member-b": turned, "valid": task / "valid"}
    make_ensemble(call(EnsembleSettings(calibrate=False), tmp_path / "out", **inputs))
    # The turned member says the opposite of the other one: their mean is indifferent.
    mean = open_ensemble(tmp_path / "out" / "ensemble").predict(texts_of(task / "test"))
    assert mean == pytest.approx(np.full_like(mean, 0.5), abs=1e-9)
