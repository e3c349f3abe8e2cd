"""Cross-validation by given folds, as a recipe says it: what is planned, refused, and read into each fold's splits."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest

from ulmfit_dist.cluster.grid import load_sweep
from ulmfit_dist.cluster.plan import SourceDigests, make_plan
from ulmfit_dist.cluster.union import checked_specs
from ulmfit_dist.corpus.documents import read_documents
from ulmfit_dist.crawl.ingest import ingest
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.errors import InputError
from ulmfit_dist.events import Silent
from ulmfit_dist.stage import StageCall
from ulmfit_dist.stages import STAGES

RECIPE = """
units = ["word"]
directions = ["forward"]
[corpus]
sources = ["t.csv"]
[task]
source = "t.csv"
folds = 4
"""
LISTED = '[task.columns]\ntext = "sentence"\nlabel = "class"\n'
CORPUS = '[corpus.columns]\ntext = "sentence"\n'


@pytest.fixture
def given(tmp_path: Path) -> list[tuple[str, str, int]]:
    """(text, class, fold) of a table beside a recipe: unequal folds in no order, and each tenth text a second time."""
    generator = random.Random(5)
    rows: list[tuple[str, str, int]] = []
    for number in range(200):
        text = rows[-1][0] if number % 10 == 9 else f"what is said of film number {number}"
        rows.append((text, ("bad", "good")[number % 2], generator.choice([0, 0, 1, 2, 3])))
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("class", "part", "text", "sentence"), *((c, f, "", t) for t, c, f in rows)])
    (tmp_path / "folds.txt").write_text("".join(f"{fold}\n" for _, _, fold in rows))
    return rows


@pytest.mark.parametrize("kind", ["column", "file"])
def test_each_folds_test_documents_are_those_of_the_list(
    tmp_path: Path, given: list[tuple[str, str, int]], kind: str
) -> None:
    listed = "fold_file = 'folds.txt'\n" + LISTED if kind == "file" else LISTED + "fold = 'part'\n"
    (tmp_path / "r.toml").write_text(RECIPE + listed + CORPUS)
    specs = checked_specs(load_sweep(tmp_path / "r.toml", []))
    stages = make_plan(specs, STAGES, tmp_path / "run", SourceDigests(None)).stages
    tested: list[int] = []
    for fold in range(4):
        settings = stages[f"ingest-task@fold={fold}"].spec.settings
        assert isinstance(settings, IngestSettings)
        out = tmp_path / f"out-{fold}"
        ingest(StageCall(settings, {}, out, Silent()))
        found = [(d.text, d.label, int(d.source.partition("#")[2]) - 1) for d in read_documents(out / "test")]
        assert found == [(text, label, n) for n, (text, label, of) in enumerate(given) if of == fold]
        tested += [number for _, _, number in found]
        rest = [d for name in ("train", "valid") for d in read_documents(out / name)]
        assert len(rest) + len(found) == len(given)
    assert sorted(tested) == list(range(len(given)))


def test_another_list_is_another_ingest_and_the_same_one_elsewhere_is_not(
    tmp_path: Path, given: list[tuple[str, str, int]]
) -> None:
    def fingerprint(name: str) -> str:
        (tmp_path / "r.toml").write_text(f"{RECIPE}fold = 2\nfold_file = '{name}'\n{LISTED}{CORPUS}")
        specs = checked_specs(load_sweep(tmp_path / "r.toml", []))
        return make_plan(specs, STAGES, tmp_path / "run", SourceDigests(None)).stages["ingest-task"].fingerprint

    first = fingerprint("folds.txt")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "same.txt").write_bytes((tmp_path / "folds.txt").read_bytes())
    assert fingerprint("copy/same.txt") == first
    folds = [fold for _, _, fold in given]
    (tmp_path / "folds.txt").write_text("".join(f"{fold}\n" for fold in reversed(folds)))
    assert fingerprint("folds.txt") != first


def test_a_wrong_list_is_refused_by_plan(tmp_path: Path, given: list[tuple[str, str, int]]) -> None:
    (tmp_path / "r.toml").write_text(f"{RECIPE}fold_file = 'folds.txt'\n{LISTED}{CORPUS}")
    (tmp_path / "folds.txt").write_text("0\n" * (len(given) - 1))
    with pytest.raises(InputError, match="another length; found: 199 numbers for 200 records"):
        checked_specs(load_sweep(tmp_path / "r.toml", []))
