"""Recipes: every shipped one parses and plans; a wrong key or an impossible run is refused before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster.pipeline import check_sources, stage_specs
from ulmfit_dist.cluster.plan import SourceDigests, make_plan
from ulmfit_dist.cluster.recipe import Recipe, load_run_recipe
from ulmfit_dist.config import data_folder
from ulmfit_dist.errors import InputError, RecipeError
from ulmfit_dist.stages import STAGES

QUICKSTART = data_folder("launch") / "quickstart.toml"
SHIPPED = sorted(data_folder("launch").rglob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_plans(path: Path, tmp_path: Path) -> None:
    recipe = load_run_recipe(path, [])
    check_sources(recipe)
    plan = make_plan(stage_specs(recipe), STAGES, tmp_path, SourceDigests(None))
    members = len(recipe.units) * len(recipe.directions)
    assert sum(name.startswith("pretrain-") for name in plan.stages) == members
    assert "evaluate" in plan.stages


def _folders(overrides: list[str], tmp_path: Path) -> dict[str, Path]:
    recipe = load_run_recipe(QUICKSTART, overrides)
    plan = make_plan(stage_specs(recipe), STAGES, tmp_path, SourceDigests(None))
    return {name: stage.folder for name, stage in plan.stages.items()}


@pytest.mark.parametrize(
    ("override", "moved"),
    [
        ("resources.pretrain_workers=1", set()),
        ("resources.cache_dir='/disk'", set()),
        ("pretrain.training.checkpoint_steps=7", set()),
        ("evaluate.mistakes=3", {"evaluate"}),
        ("ensemble.calibrate=false", {"ensemble", "evaluate"}),
        ("classifier.lr=0.02", {"classifier", "ensemble", "evaluate"}),
        ("finetune.drop_mult=0.7", {"finetune", "classifier", "ensemble", "evaluate"}),
        ("tokenizers.subword.change.seed=9", {"subword", "ensemble", "evaluate"}),
        ("task.test_share=0.2", {"ingest-task", "finetune", "classifier", "ensemble", "evaluate"}),
    ],
)
def test_a_setting_moves_exactly_what_depends_on_it(override: str, moved: set[str], tmp_path: Path) -> None:
    before, after = _folders([], tmp_path), _folders([override], tmp_path)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if any(part in name for part in moved)}


def test_a_shipped_recipe_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_run_recipe(Path("quickstart"), []) == load_run_recipe(QUICKSTART, [])
    with pytest.raises(InputError, match=r"cannot read quickstrt"):
        load_run_recipe(Path("quickstrt"), [])


def test_sources_are_relative_to_the_recipe_and_moving_it_changes_nothing(tmp_path: Path) -> None:
    here = load_run_recipe(QUICKSTART, [])
    assert here.corpus is not None
    assert all(Path(source).is_file() for source in here.corpus.sources)
    copy = tmp_path / "elsewhere"
    (copy / "data" / "quickstart").mkdir(parents=True)
    (copy / "quickstart.toml").write_bytes(QUICKSTART.read_bytes())
    for file in (QUICKSTART.parent / "data" / "quickstart").iterdir():
        (copy / "data" / "quickstart" / file.name).write_bytes(file.read_bytes())
    moved = load_run_recipe(copy / "quickstart.toml", [])
    one, other = (
        make_plan(stage_specs(recipe), STAGES, tmp_path / "run", SourceDigests(None)) for recipe in (here, moved)
    )
    assert {s.fingerprint for s in one.stages.values()} == {s.fingerprint for s in other.stages.values()}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["pretrain.training.epocs=2"], ["epocs", "epochs"]),
        (["tokenizers.word.recipe='en/word_6k'"], ["en/word_6k", "en/word_60k"]),
        (["tokenizers.word.change.max_vocb=9"], ["max_vocb", "max_vocab"]),
        (["name='a b'"], ["name"]),
        (["task.train='x.csv'"], ["source"]),
    ],
)
def test_what_a_recipe_cannot_say_is_refused(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(RecipeError) as error:
        load_run_recipe(QUICKSTART, overrides)
    for word in words:
        assert word in str(error.value)


def test_a_recipe_without_text_or_with_a_missing_source_is_refused() -> None:
    with pytest.raises(InputError, match=r"no text.*\[corpus\]"):
        check_sources(Recipe())
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        check_sources(load_run_recipe(QUICKSTART, ["corpus.sources=['nowhere.csv']"]))


def test_urls_stay_as_they_are_and_a_protocol_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("[corpus]\nsources = ['memory://corpus/a.jsonl', 'b.csv']\n[task]\nsource = 'memory://t.csv'\n")
    recipe = load_run_recipe(path, [])
    assert recipe.corpus is not None
    assert recipe.corpus.sources == ["memory://corpus/a.jsonl", str(tmp_path / "b.csv")]
    assert recipe.task is not None
    assert recipe.task.source == "memory://t.csv"
    path.write_text("[corpus]\nsources = ['nosuch://corpus/a.jsonl']\n")
    with pytest.raises(InputError, match="nosuch"):
        load_run_recipe(path, [])
