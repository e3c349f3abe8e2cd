"""The final table against scikit-learn, leaks, and one model by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score

from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import Document, read_documents, write_documents
from ulmfit_dist.corpus.leakage import LeakageSettings, search_leaks
from ulmfit_dist.errors import DataError, InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.finetune.evaluate import EvaluateSettings, evaluate
from ulmfit_dist.finetune.measures import measures_of
from ulmfit_dist.finetune.members import open_ensemble
from ulmfit_dist.finetune.references import ReferenceSettings, make_references
from ulmfit_dist.stage import StageCall

EVALUATE = EvaluateSettings(mistakes=5)


def call(settings: Settings, out: Path, **inputs: Path) -> StageCall[Any]:
    return StageCall(settings, inputs, out, Silent())


def test_evaluation_tells_the_truth(ensemble: Path, task: Path, tmp_path: Path) -> None:
    other = {"neg": "pos", "pos": "neg"}
    # Four labels are turned round, so that a good model makes four mistakes.
    test = [
        replace(d, label=other[str(d.label)]) if i in (1, 4, 8, 9) else d
        for i, d in enumerate(read_documents(task / "test"))
    ]
    write_documents(tmp_path / "test", test, 1000)
    leaked = Document("f" * 32, f"Seen before: {test[3].text}")
    write_documents(tmp_path / "corpus", [leaked], 1000)
    splits = {"test": tmp_path / "test", "train": task / "train", "valid": task / "valid"}
    make_references(call(ReferenceSettings(), tmp_path / "baseline", **splits))
    read = {"corpus": tmp_path / "corpus", "task train": task / "train", "task valid": task / "valid"}
    search_leaks(call(LeakageSettings(), tmp_path / "leakage", test=tmp_path / "test", **read))
    ready = {name: tmp_path / name for name in ("test", "baseline", "leakage")}
    evaluate(call(EVALUATE, tmp_path / "out", ensemble=ensemble, **ready))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    rows = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    names = [row["name"] for row in metrics["systems"]]
    assert names == ["subword-backward", "word-forward", "ensemble", "tf-idf + LR", "majority class"]
    truth = [document.label for document in test]
    assert [row["label"] for row in rows] == truth
    for system in metrics["systems"]:
        predicted = [metrics["labels"][int(np.argmax(row[system["name"]]))] for row in rows]
        assert system["accuracy"]["value"] == pytest.approx(accuracy_score(truth, predicted))
        assert system["accuracy"]["low"] <= system["accuracy"]["value"] <= system["accuracy"]["high"]
    assert metrics["systems"][-1]["accuracy"]["value"] == pytest.approx(0.5)
    assert metrics["final"] == "ensemble"
    assert {c["kind"] for c in metrics["comparisons"]} == {"member", "baseline", "majority"}
    ensemble_rows = np.array([row["ensemble"] for row in rows])
    assert ensemble_rows == pytest.approx(open_ensemble(ensemble).predict([d.text for d in test]), abs=1e-9)
    wrong = [
        (-max(row["ensemble"]), place, row["id"])
        for place, (row, label) in enumerate(zip(rows, truth, strict=True))
        if (row["ensemble"][1] > 0.5) != (label == "pos")
    ]
    assert len(wrong) >= 3
    assert [mistake["id"] for mistake in metrics["mistakes"]] == [identity for *_, identity in sorted(wrong)][:5]
    origins = {origin["origin"]: origin for origin in metrics["leakage"]["origins"]}
    assert set(origins) == {"task train", "task valid", "corpus"}
    assert origins["corpus"]["documents"] == 1
    # Test texts are drawn from few sentences, so several may stand in the one that was leaked; the leaked one must.
    assert origins["corpus"]["contained"] >= 1
    assert test[3].id in {e["test_id"] for e in metrics["leakage"]["examples"] if e["origin"] == "corpus"}


def test_what_was_made_for_other_test_documents_is_refused(ensemble: Path, task: Path, tmp_path: Path) -> None:
    splits = {"train": task / "train", "valid": task / "valid"}
    make_references(call(ReferenceSettings(), tmp_path / "baseline", test=task / "valid", **splits))
    write_documents(tmp_path / "few", list(read_documents(task / "test"))[:3], 1000)
    search_leaks(call(LeakageSettings(), tmp_path / "leakage", test=tmp_path / "few", train=task / "train"))
    inputs = {"ensemble": ensemble, "test": task / "test"}
    with pytest.raises(DataError, match="do not predict the same documents"):
        evaluate(call(EVALUATE, tmp_path / "a", baseline=tmp_path / "baseline", **inputs))
    with pytest.raises(InputError, match="another test split"):
        evaluate(call(EVALUATE, tmp_path / "b", leakage=tmp_path / "leakage", **inputs))
    for name in ("baseline", "leakage"):
        with pytest.raises(InputError, match=f"ulmfit {name}"):
            evaluate(call(EVALUATE, tmp_path / "c", **{name: task / "test"}, **inputs))


def test_sums_of_several_splits_give_the_measures_of_all(ensemble: Path, task: Path, tmp_path: Path) -> None:
    test = list(read_documents(task / "test"))
    sums = []
    for name, part in (("all", test), ("first", test[:5]), ("rest", test[5:])):
        write_documents(tmp_path / name, part, 1000)
        evaluate(call(EVALUATE, tmp_path / f"{name}-out", ensemble=ensemble, test=tmp_path / name))
        rows = json.loads((tmp_path / f"{name}-out" / "metrics.json").read_text())["systems"]
        sums.append(np.array([row["sums"] for row in rows]))
    assert np.array_equal(sums[1] + sums[2], sums[0])
    assert measures_of("multiclass", 2).statistics(sums[0])["accuracy"][-1] == pytest.approx(rows_value(tmp_path))


def rows_value(folder: Path) -> float:
    return float(json.loads((folder / "all-out" / "metrics.json").read_text())["systems"][-1]["accuracy"]["value"])


def test_one_model_is_evaluated_by_itself(members: Path, task: Path, tmp_path: Path) -> None:
    summary = evaluate(call(EVALUATE, tmp_path, model=members / "word-forward" / "model", test=task / "test"))
    assert list(summary["systems"]) == ["word-forward"]
    assert summary["leaks"] == 0
