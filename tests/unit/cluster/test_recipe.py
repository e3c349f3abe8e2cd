"""Recipes: every shipped one parses and plans; a wrong key or an impossible run is refused before any work."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from ulmfit_dist.cluster.grid import load_sweep
from ulmfit_dist.cluster.pipeline import stage_specs
from ulmfit_dist.cluster.plan import SourceDigests, make_plan
from ulmfit_dist.cluster.recipe import load_run_recipe
from ulmfit_dist.cluster.run import plan_recipe
from ulmfit_dist.config import data_folder
from ulmfit_dist.errors import InputError, RecipeError
from ulmfit_dist.stages import STAGES
from ulmfit_dist.tokenization.recipe import recipe_names

QUICKSTART = data_folder("launch") / "quickstart.toml"
SHIPPED = sorted(data_folder("launch").rglob("*.toml"))


# The recipes on text of the user's: what the comments at their top say to give, here the quickstart's own.
DATA = QUICKSTART.parent / "data" / "quickstart"
CORPUS = f"corpus.sources=['{DATA / 'movie_reviews.csv.gz'}']"
CRAWL = f"corpus.sources=['{DATA / 'sample.warc.gz'}']"
TASK = [f"task.{split}={DATA / 'mr.csv.gz'}" for split in ("train", "test")]
UNLABELLED = f"task.unlabelled={DATA / 'mr.csv.gz'}"
GIVEN = {
    "quickstart": [],
    "imdb": [CORPUS, *TASK, UNLABELLED],
    "imdb_short": [CORPUS, *TASK, UNLABELLED],
    "trec6": [CORPUS, *TASK],
    "sentences": [CORPUS, f"task.source={DATA / 'mr.csv.gz'}"],
    "lowshot": [CORPUS, *TASK, UNLABELLED, "grid.classifier.train_size=[100, 1000]"],
    "ablation": [CORPUS, *TASK, UNLABELLED],
    "wiki": [CORPUS],
    "billion": [CORPUS],
    # Words of Thai need a package; test_languages.py and test_recipe.py of the tokenizers say what is without it.
    "thai": [CORPUS, *TASK, f"task.valid={DATA / 'mr.csv.gz'}", "units=['subword']"],
    "from_crawl": [CRAWL, "languages.separate=['fi', 'tr', 'de']"],
    "many": [CRAWL],
}
RUNS = {"imdb_short": 2, "sentences": 10, "lowshot": 3 * 3 * 2, "ablation": 18, "from_crawl": 3, "many": 53}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_plans(path: Path, tmp_path: Path) -> None:
    sweep = load_sweep(path, GIVEN[path.stem])
    assert sweep.recipe.name == path.stem
    assert len(sweep.choices) == RUNS.get(path.stem, 1)
    plan = plan_recipe(sweep, STAGES, tmp_path)
    members = len(sweep.recipe.units) * len(sweep.recipe.directions)
    plain = {name.partition("@")[0] for name in plan.stages}
    assert sum(name.startswith("pretrain-") for name in plain) == members
    if sweep.recipe.task is not None:
        assert ("compare" if len(sweep.choices) > 1 else "evaluate") in plan.stages
    if sweep.recipe.languages is not None:
        labels = {name.partition("@")[2] for name in plan.stages}
        assert labels == {"", *sweep.recipe.languages.names()}
    assert list(tmp_path.iterdir()) == []


def test_full_size_recipes_have_the_papers_sizes() -> None:
    for name in ("imdb", "imdb_short", "trec6", "sentences", "lowshot", "ablation", "wiki", "billion"):
        recipe = load_run_recipe(Path(name), GIVEN[name])
        assert (recipe.model.embedding_size, recipe.model.hidden_size, recipe.model.num_layers) == (400, 1150, 3)
        sizes = recipe.tokenizers.word.resolve(), recipe.tokenizers.subword.resolve()
        assert [sizes[0].max_vocab, sizes[1].vocab_size] == [60_000, 30_000]  # type: ignore[union-attr]
        assert not recipe.finetune.test_text


def test_many_languages_are_all_that_have_a_folder_and_the_detectors_know() -> None:
    recipe = load_run_recipe(Path("languages/many"), GIVEN["many"])
    assert recipe.languages is not None
    folders = {name.partition("/")[0] for name in recipe_names()}
    assert set(recipe.languages.separate) == folders - {"xx", "yue"}


def test_wiki_pretrains_what_imdb_does() -> None:
    wiki, imdb, thai = (load_run_recipe(Path(name), GIVEN[name]) for name in ("wiki", "imdb", "thai"))
    assert (wiki.model, wiki.pretrain) == (imdb.model, imdb.pretrain)
    assert wiki.model == thai.model
    assert wiki.tokenizers == imdb.tokenizers
    assert wiki.corpus == imdb.corpus
    assert {thai.tokenizers.word.recipe, thai.tokenizers.subword.recipe} == {"th/word_60k", "th/sp_30k"}


def test_the_billions_lanes_fit_its_ranks() -> None:
    recipe = load_run_recipe(Path("billion"), GIVEN["billion"])
    lanes = recipe.pretrain.training.num_lanes
    assert lanes is not None
    assert [lanes % ranks for ranks in (recipe.resources.pretrain_workers, recipe.resources.pretrain_min_workers)] == [
        0,
        0,
    ]


def test_the_ablations_change_what_they_say() -> None:
    sweep = load_sweep(Path("ablation"), GIVEN["ablation"])
    runs = {str(choice.chosen["variant"]): choice.recipe for choice in sweep.choices}
    full = runs["ulmfit"]
    assert full.model_dump(exclude={"grid", "variants"}) == sweep.recipe.model_dump(exclude={"grid", "variants"})
    changed = {
        name: {part for part in ("pretrain", "finetune", "classifier") if getattr(run, part) != getattr(full, part)}
        for name, run in runs.items()
    }
    both = {"from-scratch": {"pretrain", "finetune", "classifier"}, "vanilla-lm": {"pretrain", "finetune"}}
    for name, parts in changed.items():
        lm = {"pretrain"} if name == "no-pretraining" else {"finetune"} if "lm-" in name else {"classifier"}
        assert parts == (set() if name == "ulmfit" else both.get(name, lm)), name
    assert runs["last-layer"].classifier.training.stages[0].groups == 1
    cosine = runs["one-rate-cosine"].classifier.training.schedule
    rates = [cosine.at(step, 100).lr_factor for step in range(100)]
    assert rates[0] == pytest.approx(1.0)
    assert all(later <= earlier for earlier, later in pairwise(rates))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["resources.classifier_workers=0"], "classifier_workers = 0: give 1 to 64"),
        (["resources.classifier_workers=9", "classifier.training.batch_size=8"], "classifier_workers = 9: give 1 to 8"),
        (["resources.classifier_workers=2", "resources.task_gpus=0.5"], "cannot share a GPU"),
    ],
)
def test_ranks_of_a_classifier_that_cannot_be_are_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as error:
        load_run_recipe(None, overrides)
    assert error.value.exit_code == 2
    load_run_recipe(None, ["resources.task_gpus=0.5"])  # several stages may


def _folders(overrides: list[str], tmp_path: Path) -> dict[str, Path]:
    recipe = load_run_recipe(QUICKSTART, overrides)
    plan = make_plan(stage_specs(recipe), STAGES, tmp_path, SourceDigests(None))
    return {name: stage.folder for name, stage in plan.stages.items()}


@pytest.mark.parametrize(
    ("override", "moved"),
    [
        ("resources.pretrain_workers=1", set()),
        ("resources.classifier_workers=4", set()),
        ("resources.cache_dir='/disk'", set()),
        ("pretrain.training.checkpoint_steps=7", set()),
        ("evaluate.mistakes=3", {"evaluate"}),
        ("baseline.max_iterations=9", {"baseline", "evaluate"}),
        ("ensemble.calibrate=false", {"ensemble", "evaluate"}),
        ("classifier.lr=0.02", {"classifier", "ensemble", "evaluate"}),
        ("finetune.drop_mult=0.7", {"finetune", "classifier", "ensemble", "evaluate"}),
        ("tokenizers.subword.change.seed=9", {"subword", "ensemble", "evaluate"}),
        ("finetune.test_text=true", {"finetune", "classifier", "ensemble", "leakage", "evaluate"}),
        (
            "task.test_share=0.2",
            {"ingest-task", "finetune", "classifier", "ensemble", "baseline", "leakage", "evaluate"},
        ),
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
        (["task.folds=1"], ["folds"]),
        (["task.folds=3", "task.fold=3"], ["fold = 3 of 3"]),
        (["task.fold=0"], ["fold = 0 of 0"]),
        (["task.source=", "task.train=a.csv", "task.test=b.csv", "task.folds=3"], ["one `source`"]),
        (["task.fold_file=f.txt"], ["fold_file", "how many with folds"]),
        (["task.columns.fold=part"], ["columns.fold", "how many with folds"]),
        (["task.folds=3", "task.columns.fold=part", "task.fold_file=f.txt"], ["columns.fold", "one of them"]),
        (
            ["task.source=", "task.train=a.csv", "task.test=b.csv", "task.fold_file=f.txt"],
            ["official folds of one `source`"],
        ),
        (["classifier.pseudo.rounds=1"], ["task.unlabelled"]),
    ],
)
def test_what_a_recipe_cannot_say_is_refused(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(RecipeError) as error:
        load_run_recipe(QUICKSTART, overrides)
    for word in words:
        assert word in str(error.value)


def test_a_resolved_recipe_means_the_same_and_still_follows_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "resolved.toml"
    changes = ["seed=5", "pretrain.training.seed=3", "grid.seed=[1, 2]", "variants.a.classifier.lr=0.5"]
    recipe = load_run_recipe(QUICKSTART, changes)
    path.write_bytes(recipe.toml())
    assert load_run_recipe(path, []) == recipe
    seeds = load_run_recipe(path, ["seed=8"])
    assert (seeds.pretrain.training.seed, seeds.classifier.training.seed, seeds.corpus.seed) == (3, 8, 8)  # type: ignore[union-attr]


def test_a_section_without_a_seed_has_the_recipes() -> None:
    recipe = load_run_recipe(QUICKSTART, ["seed=5", "task.seed=6"])
    sections = (
        recipe.pretrain.training,
        recipe.finetune.training,
        recipe.classifier.training,
        recipe.corpus,
        recipe.task,
    )
    assert [section.seed for section in sections if section is not None] == [5, 5, 5, 5, 6]


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
