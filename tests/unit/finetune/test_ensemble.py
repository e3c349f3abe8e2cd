"""Making an ensemble: temperatures, and members that do not fit together."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import read_documents, write_documents
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.finetune.ensemble import EnsembleSettings, make_ensemble
from ulmfit_dist.finetune.members import open_ensemble
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


@pytest.mark.parametrize("method", ["mean", "logits", "weights", "stacking"])
def test_every_method_makes_a_folder_that_predicts_what_it_was_scored_on(
    members: Path, task: Path, tmp_path: Path, method: Any
) -> None:
    inputs = {f"member-{name}": members / name / "model" for name in ("word-forward", "subword-backward")}
    summary = make_ensemble(call(EnsembleSettings(method=method), tmp_path, valid=task / "valid", **inputs))
    opened = open_ensemble(tmp_path / "ensemble")
    assert opened.config.method == method
    documents = list(read_documents(task / "valid"))
    found = opened.predict([document.text for document in documents])
    assert found.sum(1) == pytest.approx(np.ones(12))
    predicted = np.array(["neg", "pos"])[found.argmax(1)]
    assert summary["metrics"]["accuracy"] == np.mean(predicted == [document.label for document in documents])
    assert summary["metrics"]["nll"] <= summary["before"]["nll"] + 1e-9
    assert 0 <= summary["cross_validated"]["accuracy"] <= 1
    if method == "weights":
        assert sum(row.weight for row in opened.config.members) == pytest.approx(1)


def test_weights_are_given_or_fitted() -> None:
    with pytest.raises(ValueError, match="weights are fitted"):
        EnsembleSettings(method="stacking", weights={"a": 2.0})


def test_nothing_is_fitted_on_what_is_scored_in_the_cross_validation(members: Path, task: Path, tmp_path: Path) -> None:
    """Labels without any relation to the text: stacking looks good where it was fitted, and elsewhere not."""
    documents = [replace(d, label=("neg", "pos")[i * 7 % 11 % 2]) for i, d in enumerate(read_documents(task / "train"))]
    write_documents(tmp_path / "noise", documents, 1000)
    settings = EnsembleSettings(method="stacking", stacking_strength=1e6)
    inputs = {f"member-{name}": members / name / "model" for name in ("word-forward", "subword-backward")}
    summary = make_ensemble(call(settings, tmp_path / "out", valid=tmp_path / "noise", **inputs))
    assert summary["cross_validated"]["nll"] > summary["metrics"]["nll"] + 0.005


def test_members_of_other_targets_are_refused(members: Path, task: Path, tmp_path: Path) -> None:
    folders = {}
    for name, labels in (("a", ["neg", "pos"]), ("b", ["pos", "neg"])):
        folder = shutil.copytree(members / "word-forward" / "model", tmp_path / name)
        config = json.loads((folder / "config.json").read_text())
        target = config["target"] | {"kind": "multilabel" if name == "b" else "multiclass"}
        (folder / "config.json").write_text(json.dumps(config | {"labels": labels, "target": target}))
        folders[f"member-{name}"] = folder
    with pytest.raises(InputError, match="predict different things"):
        make_ensemble(call(EnsembleSettings(), tmp_path / "out", valid=task / "valid", **folders))
