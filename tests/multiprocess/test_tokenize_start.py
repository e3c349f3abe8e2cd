"""What `ulmfit tokenize` loads until its actors work: the driver no spaCy, the actors no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from ulmfit_dist.cluster.attempt import Attempt
from ulmfit_dist.cluster.phases import Part, Phase, Receipt, Work, run_phase
from ulmfit_dist.config import Settings
from ulmfit_dist.corpus.documents import Document, document_id, write_documents
from ulmfit_dist.corpus.manifest import read_manifest
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.recipe import WordRecipe
from ulmfit_dist.tokenization.vocabulary import build_vocabulary, count_words
from ulmfit_dist.tokenization.word import WordSplitter, WordTokenizer

pytestmark = pytest.mark.ray

TEXTS = [f"The boat number {number} went out to sea {number * 7} times in the year ." for number in range(40)]


def test_the_driver_opens_neither_spacy_nor_torch(tmp_path: Path, local_ray: object) -> None:
    recipe = WordRecipe(min_freq=1)
    tokenizer = WordTokenizer(recipe, build_vocabulary(count_words(TEXTS, WordSplitter(recipe)), recipe))
    tokenizer.save(tmp_path / "words")
    write_documents(tmp_path / "documents", [Document(document_id("d", text), text) for text in TEXTS], 500)
    names = [tmp_path / name for name in ("documents", "words", "stream")]
    arguments = ["tokenize", str(names[0]), "--tokenizer", str(names[1]), "--out", str(names[2])]
    command = [sys.executable, "-X", "importtime", "-m", "ulmfit_dist", *arguments]
    environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr[-2000:]
    loaded = {line.rsplit("|", 1)[1].strip() for line in ended.stderr.splitlines() if line.startswith("import time:")}
    assert "ulmfit_dist.cluster.pool" in loaded
    assert not {"spacy", "torch", "matplotlib", "ray.train", "pandas"} & loaded
    manifest = read_manifest(names[2])
    assert manifest.tokenizer_fingerprint == tokenizer.fingerprint
    assert manifest.tokens == sum(len(one.ids) for one in tokenizer.encode_reference(TEXTS))


def _with_spacy() -> Work:
    there = "torch" in sys.modules  # an actor may get a process that did something else before
    import spacy

    spacy.blank("en")
    loaded = "torch" in sys.modules and not there

    def work(_: Part, __: Attempt) -> Receipt:
        import torch

        return {"pid": os.getpid(), "loaded": loaded, "sum": torch.ones(2).sum().item()}

    return work


def test_an_actor_loads_spacy_without_torch_and_can_have_torch_later(tmp_path: Path, local_ray: object) -> None:
    phase = Phase("test", tmp_path / "receipts", _with_spacy, lambda _: True)
    parts = [Part(index, 1, f"digest-{index}", 2) for index in range(2)]
    receipts = run_phase(phase, parts, StageCall(Settings(), {}, tmp_path, Silent()), 2)
    assert [(receipt["loaded"], receipt["sum"]) for receipt in receipts] == [(False, 2.0)] * 2
    assert os.getpid() not in {receipt["pid"] for receipt in receipts}
