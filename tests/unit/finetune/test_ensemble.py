"""Making an ensemble: temperatures, and members that do not fit together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ulmfit_dist.config import Settings
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.finetune.ensemble import EnsembleSettings, make_ensemble
from ulmfit_dist.stage import StageCall


def call(settings: Settings, out: Path, **inputs: Path) -> StageCall[Any]:
    return StageCall(settings, inputs, out, Silent())


def test_temperatures_do_not_harm_the_validation_likelihood(members: Path, task: Path, tmp_path: Path) -> None:
    inputs = {"valid": task / "valid", "member-a": members / "word-forward" / "model"}
    summary = make_ensemble(call(EnsembleSettings(), tmp_path, **inputs))
    scores = summary["members"]["a"]
    assert scores["after"]["nll"] <= scores["before"]["nll"] + 1e-9
    assert scores["after"]["accuracy"] == scores["before"]["accuracy"]


def test_members_of_other_labels_are_refused(members: Path, task: Path, tmp_path: Path) -> None:
    other = shutil.copytree(members / "word-forward" / "model", tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"labels": ["neg", "neutral"]}))
    inputs = {"member-a": members / "subword-backward" / "model", "member-b": other}
    with pytest.raises(InputError, match="members a and b have different labels"):
        make_ensemble(call(EnsembleSettings(), tmp_path / "out", valid=task / "valid", **inputs))
    with pytest.raises(InputError, match="at least one member"):
        make_ensemble(call(EnsembleSettings(), tmp_path / "out", valid=task / "valid"))
