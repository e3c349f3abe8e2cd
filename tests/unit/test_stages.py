"""The table of stages: each kind runs its own stage's code, which nothing else loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ulmfit_dist.stages import STAGES

CODE = {
    "ingest": "cluster.ingesting.ingest_on_pool",
    "by-language": "corpus.bylanguage.sort_by_language",
    "mix-languages": "corpus.mixing.mix_languages",
    "train-tokenizer": "cluster.tokenizing.train_tokenizer",
    "tokenize": "cluster.tokenizing.tokenize",
    "pretrain": "cluster.pretraining.pretrain",
    "finetune-lm": "finetune.lm.finetune_lm",
    "lr-find": "finetune.rates.find_rate",
    "train-classifier": "cluster.classifying.train_classifier",
    "search-classifier": "cluster.searching.search_classifier",
    "ensemble": "finetune.ensemble.make_ensemble",
    "baseline": "finetune.references.make_references",
    "leakage": "corpus.leakage.search_leaks",
    "evaluate": "finetune.evaluate.evaluate",
    "compare": "finetune.compare.compare_runs",
}


def test_these_are_the_kinds_by_name() -> None:
    assert {name: kind.name for name, kind in STAGES.items()} == {name: name for name in CODE}


@pytest.mark.parametrize("name", CODE)
def test_a_kind_runs_its_own_stage(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"ulmfit_dist.{CODE[name]}", lambda call: {"called with": call})
    assert STAGES[name].function("the call") == {"called with": "the call"}  # type: ignore[arg-type]


def test_the_table_alone_loads_no_stage() -> None:
    show = "import sys, ulmfit_dist.stages; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout.split()
    assert "ulmfit_dist.stage" in loaded
    assert not {"torch", "ray", "spacy", "pyarrow", "ulmfit_dist.cluster", "ulmfit_dist.finetune"} & set(loaded)
