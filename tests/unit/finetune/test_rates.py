"""The stage that looks for a rate: on streams and on a model with a task's text, whose folders it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.events import Silent
from ulmfit_dist.files import digest_file, read_json
from ulmfit_dist.finetune.lm import FinetuneLMSettings
from ulmfit_dist.finetune.rates import LRFindSettings, find_rate
from ulmfit_dist.finetune.tokens import write_task_stream
from ulmfit_dist.modelfolder.folder import load_language_model
from ulmfit_dist.stage import StageCall
from ulmfit_dist.training.lm import LMTrainingSettings
from ulmfit_dist.training.pretrain import PretrainSettings
from ulmfit_dist.training.rates import SweepSettings

TRAINING = LMTrainingSettings(num_lanes=4, bptt=10, device="cpu")
SETTINGS = LRFindSettings(
    sweep=SweepSettings(lowest=1e-4, highest=5.0, steps=40),
    pretrain=PretrainSettings.model_validate(
        {"model": {"embedding_size": 6, "hidden_size": 8, "num_layers": 1}, "training": TRAINING.model_dump()}
    ),
    finetune=FinetuneLMSettings(min_freq=1, training=TRAINING),
)


def _digests(folder: Path) -> dict[str, str]:
    return {str(path): digest_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("unit", ["word", "subword"])
def test_for_fine_tuning(unit: str, request: pytest.FixtureRequest, task: Path, tmp_path: Path) -> None:
    model = request.getfixturevalue(f"{unit}_model")
    before = _digests(model)
    summary = find_rate(StageCall(SETTINGS, {"model": model, "train": task / "train"}, tmp_path, Silent()))
    assert _digests(model) == before
    written = read_json(tmp_path / "lr-find.json")
    assert written["suggestions"] == {"valley": summary["suggestion"], "steepest": summary["steepest"]}
    assert written["ended"] == summary["ended"]
    assert 1e-4 <= summary["suggestion"] <= 5.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr-find.json", "lr-find.png"]


def test_for_pretraining(word_model: Path, task: Path, tmp_path: Path) -> None:
    _, tokenizer, _ = load_language_model(word_model)
    tokenizer.save(tmp_path / "words")
    for split in ("train", "valid"):
        write_task_stream([task / split], tokenizer, tmp_path / "tokens" / split)
    inputs, results = {"tokens": tmp_path / "tokens", "tokenizer": tmp_path / "words"}, []
    for direction in ("forward", "backward", "forward"):
        pretrain = SETTINGS.pretrain.model_copy(update={"direction": direction})
        out = tmp_path / f"out{len(results)}"
        out.mkdir()
        find_rate(StageCall(SETTINGS.model_copy(update={"pretrain": pretrain}), inputs, out, Silent()))
        results.append([path.read_bytes() for path in sorted(out.iterdir())])
    assert results[0] == results[2] != results[1]
    assert b'"valley"' in results[0][0]
