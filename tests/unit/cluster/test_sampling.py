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


def test_what_training_takes_is_said_of_the_sample_that_was_drawn(tmp_path):
    lines = draw(tmp_path, SubwordRecipe(language="en", sample_characters=10_000), 700)
    last = read_events(tmp_path / "events.jsonl")[-1]
    assert (last["kind"], last["sample_characters"]) == ("estimate", sum(map(len, lines)))
    assert 9000 < last["sample_characters"] <= 10_000


# One thread of a Xeon, SentencePiece 0.2: characters of the sample, letters of its different stretches, pieces; seconds
# and megabytes over those of a process with the text (English Wikipedia, then Thai government news).
MEASURED = [
    (1.0e6, 0.28e6, 8_000, 1.8, None),
    (5.0e6, 0.89e6, 8_000, 13.3, None),
    (5.0e6, 0.89e6, 30_000, 6.5, None),
    (20.0e6, 2.27e6, 30_000, 31.9, 440),
    (0.5e6, 0.41e6, 2_000, 4.1, None),
    (2.0e6, 1.52e6, 8_000, 13.9, None),
    (2.0e6, 1.52e6, 16_000, 8.9, None),
    (8.0e6, 5.63e6, 16_000, 74.7, 444),
    (8.0e6, 5.63e6, 30_000, 45.2, None),
    (20.0e6, 13.18e6, 30_000, 210.0, 957),
    (20.0e6, 13.18e6, 16_000, 260.2, None),
]


@pytest.mark.parametrize(("characters", "different", "pieces", "seconds", "megabytes"), MEASURED)
def test_the_estimate_is_within_a_factor_of_two_of_what_was_measured(characters, different, pieces, seconds, megabytes):
    guess, memory = sampling.training_cost(int(characters), int(different), pieces)
    assert seconds / 2 < guess < 2 * seconds
    assert megabytes is None or megabytes / 1.4 < memory < 1.4 * megabytes


def test_a_stretch_that_comes_again_costs_nothing():
    assert sampling.different_letters(["to be or not", "to be", "ab"]) == len("tobeornotab")
