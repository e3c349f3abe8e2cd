"""Languages mixed for one model: the drawn shares are p^alpha / sum p^alpha, and the same documents every time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from ulmfit_dist.corpus.bylanguage import KIND, ByLanguageSettings, sort_by_language
from ulmfit_dist.corpus.documents import Document, document_id, read_documents, write_documents
from ulmfit_dist.corpus.mixing import MixSettings, mix_languages, shares
from ulmfit_dist.errors import DataError
from ulmfit_dist.events import Silent
from ulmfit_dist.files import write_json
from ulmfit_dist.stage import StageCall

SIZES = {"de": 6000, "fi": 1500, "fo": 100}


@pytest.fixture(scope="module")
def sorted_documents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sorted")
    rows = [
        Document(document_id(language, str(number)), f"{language} {number:06d}", lang=language)
        for language, size in SIZES.items()
        for number in range(size)
    ]
    write_documents(folder / "in" / "train", rows, 10_000)
    write_documents(folder / "in" / "valid", [row for row in rows if row.text.endswith("7")], 10_000)
    call = StageCall(ByLanguageSettings(), {"documents": folder / "in"}, folder / "out", Silent())
    write_json(folder / "out" / "stage.json", {"kind": KIND, "summary": sort_by_language(call)})
    return folder / "out"


def mix(documents: Path, out: Path, **settings):
    values = {"languages": list(SIZES), **settings}
    return mix_languages(StageCall(MixSettings(**values), {"documents": documents}, out, Silent()))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
def test_the_drawn_shares_are_those_of_the_formula(sorted_documents, tmp_path, alpha):
    summary = mix(sorted_documents, tmp_path, alpha=alpha)
    drawn = list(read_documents(tmp_path / "train"))
    total = sum(SIZES.values())
    powers = {language: (size / total) ** alpha for language, size in SIZES.items()}
    counts = Counter(document.lang for document in drawn)
    for language, power in powers.items():
        share = power / sum(powers.values())
        assert summary["languages"][language]["drawn"] == pytest.approx(share)
        # All documents are of one length. What the rate's fraction leaves to chance is at most one of each.
        assert counts[language] / total == pytest.approx(share, abs=4 * (0.25 * SIZES[language]) ** 0.5 / total)
    assert summary["splits"]["train"]["documents"] == len(drawn)
    assert len({document.id for document in drawn}) == len(drawn)


def test_documents_of_a_small_language_are_there_alike_often(sorted_documents, tmp_path):
    mix(sorted_documents, tmp_path, alpha=0.3)
    copies = Counter(document.text for document in read_documents(tmp_path / "train") if document.lang == "fo")
    assert len(copies) == SIZES["fo"]
    assert max(copies.values()) - min(copies.values()) <= 1
    assert min(copies.values()) > 5


def test_with_alpha_one_it_is_the_text_as_it_is(sorted_documents, tmp_path):
    mix(sorted_documents, tmp_path, alpha=1.0)
    there = [document for name in SIZES for document in read_documents(sorted_documents / name / "train")]
    assert list(read_documents(tmp_path / "train")) == there


def test_validation_text_is_taken_whole(sorted_documents, tmp_path):
    mix(sorted_documents, tmp_path, alpha=0.0)
    there = [document for name in SIZES for document in read_documents(sorted_documents / name / "valid")]
    assert list(read_documents(tmp_path / "valid")) == there


def test_another_seed_draws_others_and_the_same_seed_the_same(sorted_documents, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        mix(sorted_documents, tmp_path / name, alpha=0.5, seed=seed)
    a, b, c = (sorted((tmp_path / name / "train").glob("*.parquet")) for name in "abc")
    assert [path.read_bytes() for path in a] == [path.read_bytes() for path in b]
    assert [path.read_bytes() for path in a] != [path.read_bytes() for path in c]


def test_a_language_that_is_not_there_is_named(sorted_documents, tmp_path):
    with pytest.raises(DataError, match="no training document in sw") as caught:
        mix(sorted_documents, tmp_path, languages=["de", "sw"])
    told = sorted(SIZES, key=lambda language: -SIZES[language])
    assert [one.split()[0] for one in caught.value.found.removeprefix("documents in ").split(", ")[:3]] == told[:3]


@pytest.mark.parametrize("values", [{"alpha": 1.1}, {"alpha": -0.1}, {"languages": ["de"]}])
def test_values_that_mean_nothing_are_refused(values):
    with pytest.raises(ValidationError):
        MixSettings(**{"languages": ["de", "fi"], **values})


def test_shares_sum_to_one_and_small_ones_gain():
    found = shares({"a": 900, "b": 90, "c": 10}, 0.5)
    assert sum(found.values()) == pytest.approx(1)
    assert found["c"] == pytest.approx(0.1 / (0.9**0.5 + 0.3 + 0.1))
    assert found["a"] < 0.9
