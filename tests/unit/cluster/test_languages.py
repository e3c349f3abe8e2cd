"""Recipes for many languages: one crawl, one run a language or group, each with the tokenizers that there are."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w

from ulmfit_dist.cluster.estimate import estimates
from ulmfit_dist.cluster.grid import load_sweep
from ulmfit_dist.cluster.languages import tokenizer_folder
from ulmfit_dist.cluster.plan import Output, Plan, SourceDigests, StageSpec, make_plan
from ulmfit_dist.cluster.recipe import load_run_recipe
from ulmfit_dist.cluster.union import sweep_specs
from ulmfit_dist.config import data_folder
from ulmfit_dist.errors import RecipeError
from ulmfit_dist.stages import STAGES

CRAWL = data_folder("launch") / "data" / "quickstart" / "sample.warc.gz"
FROM_CRAWL = Path("languages/from_crawl")
SOURCE = f"corpus.sources=['{CRAWL}']"
GROUP = "languages.shared.nordic.languages=['da', 'nb']"


def _specs(*overrides: str) -> dict[str, StageSpec]:
    return {spec.name: spec for spec in sweep_specs(load_sweep(FROM_CRAWL, [SOURCE, *overrides]))}


def _plan(folder: Path, *overrides: str) -> Plan:
    return make_plan(list(_specs(*overrides).values()), STAGES, folder, SourceDigests(None))


def test_the_crawl_is_read_and_sorted_once_and_each_language_has_its_four_members() -> None:
    specs = _specs("languages.separate=['fi', 'tr', 'de']")
    kinds = [spec.kind for spec in specs.values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "ingest": 1,
        "by-language": 1,
        "train-tokenizer": 6,
        "tokenize": 6,
        "pretrain": 12,
    }
    assert specs["tokenizer-word@tr"].inputs["documents"] == Output("by-language", "tr")
    assert specs["tokenizer-word@tr"].settings.recipe.language == "tr"  # type: ignore[attr-defined]
    assert specs["pretrain-word-backward@tr"].inputs["tokens"] == Output("tokenize-word@tr")
    assert specs["pretrain-word-backward@tr"].settings.language == "tr"  # type: ignore[attr-defined]


def test_a_language_without_a_word_recipe_gets_pieces_and_one_without_a_folder_those_of_any_language() -> None:
    specs = _specs("languages.separate=['my', 'fo']")
    assert {name.partition("@")[0] for name in specs if name.startswith("pretrain")} == {
        "pretrain-subword-forward",
        "pretrain-subword-backward",
    }
    recipes = {code: specs[f"tokenizer-subword@{code}"].settings.recipe for code in ("my", "fo")}  # type: ignore[attr-defined]
    assert (recipes["my"].language, recipes["my"].character_coverage) == ("my", 0.99999)
    assert (recipes["fo"].language, recipes["fo"].vocab_size, recipes["fo"].byte_fallback) == ("fo", 30_000, True)


def test_any_iso_code_of_a_language_means_it() -> None:
    assert [tokenizer_folder(code) for code in ("fi", "fin", "no", "nb", "zho", "fao")] == [
        "fi",
        "fi",
        "nb",
        "nb",
        "zh",
        "xx",
    ]
    specs = _specs("languages.separate=['fin', 'nb']")
    assert specs["tokenizer-word@fin"].inputs["documents"] == Output("by-language", "fi")
    assert specs["tokenizer-word@fin"].settings.recipe.language == "fi"  # type: ignore[attr-defined]
    # A crawl's detectors know Bokmal as Norwegian.
    assert specs["tokenizer-word@nb"].inputs["documents"] == Output("by-language", "no")


def test_a_group_shares_pieces_and_models() -> None:
    specs = _specs("languages.separate=['da']", GROUP, "languages.shared.nordic.alpha=0.5")
    mix = specs["mix-languages@nordic"]
    assert mix.inputs["documents"] == Output("by-language")
    assert (mix.settings.languages, mix.settings.alpha) == (["da", "no"], 0.5)  # type: ignore[attr-defined]
    assert specs["tokenizer-subword@nordic"].inputs["documents"] == Output("mix-languages@nordic")
    assert "tokenizer-word@nordic" not in specs
    assert "tokenizer-word@da" in specs


def test_a_further_language_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    one, two = (_plan(tmp_path, f"languages.separate={codes}").stages.values() for codes in ("['fi']", "['fi', 'fo']"))
    assert {stage.folder for stage in one} < {stage.folder for stage in two}


def test_the_resolved_recipe_means_the_same(tmp_path: Path) -> None:
    settings = [SOURCE, "languages.separate=['fi', 'fo']", GROUP, "tokenizers.word.change.max_vocab=500"]
    sweep = load_sweep(FROM_CRAWL, settings)
    (tmp_path / "r.toml").write_bytes(sweep.recipe.toml())
    again = load_sweep(tmp_path / "r.toml", [])
    assert [choice.recipe for choice in again.choices] == [choice.recipe for choice in sweep.choices]
    values = tomllib.loads(FROM_CRAWL_TEXT) | {"languages": {"separate": ["fi"]}, "corpus": {"sources": [str(CRAWL)]}}
    del values["tokenizers"], values["base"]
    (tmp_path / "bare.toml").write_text(tomli_w.dumps(values))
    (bare,) = load_sweep(tmp_path / "bare.toml", []).choices
    assert bare.recipe.tokenizers.word.recipe == "fi/word_60k"


FROM_CRAWL_TEXT = (data_folder("launch") / "languages" / "from_crawl.toml").read_text(encoding="utf-8")


def test_languages_are_crossed_with_a_grid() -> None:
    names = set(_specs("languages.separate=['fi', 'tr']", "grid.pretrain.training.lr=[0.1, 0.2]", "units=['word']"))
    assert {name for name in names if name.startswith("pretrain-word-forward")} == {
        f"pretrain-word-forward@lr={lr},{code}" for lr in (0.1, 0.2) for code in ("fi", "tr")
    }
    assert {name for name in names if name.startswith("tokenizer")} == {"tokenizer-word@fi", "tokenizer-word@tr"}


def test_the_plan_guesses_an_equal_share_before_the_crawl_is_sorted(tmp_path: Path) -> None:
    guesses = estimates(_plan(tmp_path, "languages.separate=['fi', 'tr', 'de']", GROUP, "units=['subword']"))
    alone, mixed = (guesses[f"tokenize-subword@{name}"].tokens for name in ("fi", "nordic"))
    assert mixed == pytest.approx(2 * alone)
    assert alone > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["languages.separate=['fi', 'english']"], "'english' is no language code"),
        (["languages.separate=['fi', 'fin']"], "'fi' is named twice"),
        (["languages.separate=['nordic']", GROUP], "no language code"),
        (["languages.shared.nordic.languages=['da', 'dan']"], "'da' is named twice"),
        (["languages.shared.nordic.languages=['da']"], "at least 2"),
        ([GROUP, "languages.shared.nordic.alpha=2"], "less than or equal to 1"),
        (["languages.seperate=['fi']"], "unknown key"),
        (["languages.separate=[]"], "names none"),
        (["languages.separate=['fi']", "task.source=t.csv"], "a task is of one language"),
        (["languages.separate=['fi']", "tokenizers.word.recipe=en/word_60k"], "is of one language"),
        (["languages.separate=['fi']", "language=fi"], "is set for each of"),
        (["languages.separate=['my']", "units=['word']"], "there is no word recipe for my"),
        (["languages.separate=['fi']", "tokenizers.word.recipe='{language}/word_60'"], "no word recipe|unknown"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: list[str], words: str) -> None:
    units = [] if any("units" in one for one in settings) else ["units=['word']"]
    with pytest.raises(RecipeError, match=words):
        load_sweep(FROM_CRAWL, [SOURCE, *units, *settings])


def test_a_recipe_of_one_language_takes_that_of_its_tokenizer() -> None:
    from ulmfit_dist.cluster.pipeline import pretrain_settings

    recipe = load_run_recipe(None, ["units=['subword']", "tokenizers.subword.recipe='th/sp_30k'"])
    assert pretrain_settings(recipe, "forward").language == "th"
