"""The sample that is drawn item by item is the one of all documents at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster import sampling
from ulmfit_dist.cluster.sampling import draw_sample
from ulmfit_dist.cluster.settings import TrainTokenizerSettings
from ulmfit_dist.corpus.documents import Document, document_id, work_items, write_documents
from ulmfit_dist.events import EventLog, read_events
from ulmfit_dist.stage import StageCall
from ulmfit_dist.tokenization.recipe import SubwordRecipe
from ulmfit_dist.tokenization.sample import sample_lines

TEXTS = [f"Line one of text {n}\n{'long ' * (n % 50)}line of text {n}\nlast" for n in range(200)]


def draw(folder: Path, recipe: SubwordRecipe, item_characters: int) -> list[str]:
    write_documents(folder / "d", [Document(document_id("d", t), t) for t in TEXTS], item_characters)
    call = StageCall(TrainTokenizerSettings(recipe=recipe), {}, folder, EventLog(folder / "events.jsonl"))
    return draw_sample(work_items(folder / "d"), recipe, call)


@pytest.mark.parametrize("bound", [1, 500, 5000, 10**7])
@pytest.mark.parametrize("item_characters", [700, 10**6])
@pytest.mark.parametrize("margin", [1.5, 1e-6])  # a share that is too small is drawn again
def test_the_sample_of_items_is_that_of_all_documents(tmp_path, monkeypatch, bound, item_characters, margin):
    monkeypatch.setattr(sampling, "_MARGIN", margin)
    recipe = SubwordRecipe(language="en", sample_characters=bound, seed=3)
    assert draw(tmp_path, recipe, item_characters) == sample_lines(TEXTS, bound, 3)
    assert not list(tmp_path.glob("sample-*"))


def test_what_training_takes_is_said_first(tmp_path):
    draw(tmp_path, SubwordRecipe(language="en", sample_characters=10_000), 700)
    first = read_events(tmp_path / "events.jsonl")[0]
    assert (first["kind"], first["sample_characters"]) == ("estimate", 10_000)
