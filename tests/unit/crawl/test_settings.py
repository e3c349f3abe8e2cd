"""Ingest settings: what is semantic, and what is refused with the key's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from ulmfit_dist.config import load_toml, parse_settings, save_toml
from ulmfit_dist.corpus.locations import RemotePath
from ulmfit_dist.crawl.settings import (
    CrawlSettings,
    IngestSettings,
    OfficialFolds,
    Source,
    source_inputs,
    source_locations,
    source_names,
    split_names,
)
from ulmfit_dist.errors import InputError, RecipeError


def parse(**values):
    return parse_settings(IngestSettings, {"sources": ["a.csv"], **values}, "a recipe")


def test_a_string_stands_for_a_path():
    settings = parse(sources=["data/a.csv", {"path": "t.csv", "split": "test"}])
    assert settings.sources == [Source(path="data/a.csv"), Source(path="t.csv", split="test")]
    assert [source.drops_duplicates for source in settings.sources] == [True, False]
    assert Source(path="t.csv", split="test", duplicates="drop").drops_duplicates


def test_moving_the_sources_changes_nothing_semantic_but_their_names_do():
    here = parse(sources=["/here/a.csv", "/here/b.csv"]).semantic()
    assert here == parse(sources=["/elsewhere/deep/a.csv", "other/b.csv"]).semantic()
    assert here != parse(sources=["/here/a.csv", "/here/c.csv"]).semantic()
    assert here != parse(sources=["/here/a.csv", {"path": "/here/b.csv", "split": "test"}]).semantic()
    assert "/here" not in str(here)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"splits": {"train": 0.5}}, "splits.*sum to 1"),
        ({"splits": {"train": 1.5, "valid": -0.5}}, "above 0"),
        ({"splits": {"../train": 1.0}}, "no split name"),
        ({"sources": [{"path": "a", "split": "Test Set"}]}, "no split name"),
        ({"sources": []}, "sources"),
        ({"sources": [{"split": "test"}]}, "path"),
        ({"languages": ["english"]}, "'english' is no language code"),
        ({"seeds": 3}, "did you mean 'seed'"),
        ({"quarantine_share": 2}, "quarantine_share"),
        ({"max_documents": 0}, "max_documents"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(RecipeError, match=message):
        parse(**values)


def test_languages_are_brought_to_one_code():
    assert parse(languages=["eng", "de", "ceb", "und"]).languages == ["en", "de", "ceb", "und"]


def test_settings_survive_toml(tmp_path):
    settings = parse(sources=["a.csv", {"path": "t.csv", "split": "test"}], labelled=True, languages=["en"])
    save_toml(tmp_path / "recipe.toml", settings)
    assert parse_settings(IngestSettings, load_toml(tmp_path / "recipe.toml"), "it") == settings


def test_names_are_file_names_unless_they_clash():
    paths = [Path("/d/train/all.csv"), Path("/d/test/all.csv"), Path("/d/mr.csv")]
    assert source_names(paths) == ["train/all.csv", "test/all.csv", "mr.csv"]
    assert source_names([Path("/x/a/t/f"), Path("/x/b/t/f")]) == ["a/t/f", "b/t/f"]
    assert source_names([Path("f"), Path("f")]) == ["f", "f"]


def test_names_of_urls_are_as_of_files():
    locations = [
        RemotePath("s3://bucket/d/train/all.csv"),
        Path("/d/test/all.csv"),
        RemotePath("https://h.org/m.csv?k=1"),
    ]
    assert source_names(locations) == ["train/all.csv", "test/all.csv", "m.csv"]
    assert parse(sources=["https://h.org/m.csv?k=1"]).semantic() == parse(sources=["/x/m.csv"]).semantic()


def test_inputs_sort_as_the_sources(tmp_path):
    settings = parse(sources=[f"s{number}.csv" for number in range(12)])
    inputs = source_inputs(settings, tmp_path)
    assert list(inputs) == sorted(inputs)
    assert source_locations(settings, dict(reversed(inputs.items()))) == [tmp_path / f"s{n}.csv" for n in range(12)]
    assert source_locations(settings, {}) == [Path(f"s{n}.csv") for n in range(12)]
    with pytest.raises(InputError, match="a for 12 sources"):
        source_locations(settings, {"a": tmp_path})


def test_a_url_is_taken_from_the_settings_and_a_path_from_the_inputs(tmp_path):
    settings = parse(sources=["a.csv", "memory://x/b.csv"])
    assert source_inputs(settings, tmp_path)["source-00001"] == RemotePath("memory://x/b.csv")
    inputs = {"source-00000": tmp_path / "moved.csv"}
    assert source_locations(settings, inputs) == [tmp_path / "moved.csv", RemotePath("memory://x/b.csv")]


def test_splits_are_the_named_ones_and_the_shares_where_a_source_names_none():
    named = [{"path": "t.csv", "split": "test"}]
    assert split_names(parse(sources=named)) == ["test"]
    assert split_names(parse(sources=["a.csv", *named])) == ["test", "train", "valid"]


def test_workers_change_nothing_semantic():
    assert parse(workers=7).semantic() == parse(workers=1).semantic()


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(ValidationError, match="'min_word' is no quality rule; did you mean 'min_words'"):
        CrawlSettings(thresholds={"de": {"min_word": 3}})


def test_of_files_the_content_is_part_of_the_result(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("example.org\n")
    first, second = (CrawlSettings(blocklists=[str(tmp_path / name)]).semantic() for name in ("a", "b"))
    assert first == second
    (tmp_path / "b").write_text("example.com\n")
    assert CrawlSettings(blocklists=[str(tmp_path / "b")]).semantic() != first
    model = CrawlSettings(language_model=str(tmp_path / "a"))
    before = model.semantic()
    (tmp_path / "a").write_text("another model")
    assert model.semantic() != before


def test_strict_needs_a_model():
    with pytest.raises(ValidationError, match="needs a language_model"):
        CrawlSettings(language_rule="strict")
    assert CrawlSettings(language_rule="strict", language_model="m.ftz").reading()["language_rule"] == "strict"


def test_another_extractor_reads_the_sources_anew():
    default, other = CrawlSettings(), CrawlSettings(extractor="trafilatura")
    assert default.extractor == "resiliparse"
    assert default.reading() != other.reading()
    assert default.cleaning() == other.cleaning()


def test_thresholds_are_no_part_of_what_is_read():
    def reading(**settings):
        return IngestSettings(sources=["a.warc"], **settings).reading()

    same = [
        {"crawl": {"thresholds": {"en": {"min_words": 1}}}},
        {"crawl": {"quality": False, "near_duplicate_similarity": 0.9, "boilerplate_pages": 3}},
        {"min_characters": 9, "languages": ["en"]},
    ]
    assert all(reading(**settings) == reading() for settings in same)
    other = [{"seed": 3}, {"crawl": {"min_language_share": 0.5}}, {"max_documents": 5}]
    assert all(reading(**settings) != reading() for settings in other)


def test_a_fold_file_counts_by_what_it_holds(tmp_path):
    for name, text in (("a.txt", "0\n1\n"), ("b.txt", "0\n1\n"), ("c.txt", "1\n0\n")):
        (tmp_path / name).write_text(text)
    a, b, c = (
        OfficialFolds(folds=2, test=0, file=str(tmp_path / name)).semantic() for name in ("a.txt", "b.txt", "c.txt")
    )
    assert a == b != c
    assert (
        parse(labelled=True, splits={"train": 0.5, "test": 0.5}, official={"folds": 2, "test": 0}).official.file == ""
    )


@pytest.mark.parametrize("given", [{"splits": {"train": 0.5, "test": 0.5}}, {"labelled": True}])
def test_official_folds_are_of_labelled_documents_with_a_test_split(given):
    with pytest.raises(RecipeError, match="official folds are of labelled documents"):
        parse(official={"folds": 2, "test": 0}, **given)
