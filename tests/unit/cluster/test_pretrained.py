"""Members that start from given language models: which stages that spares, and what is refused before any starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ulmfit_dist.cluster.estimate import estimates
from ulmfit_dist.cluster.grid import load_sweep
from ulmfit_dist.cluster.pipeline import stage_specs
from ulmfit_dist.cluster.plan import Output, Plan, SourceDigests, make_plan
from ulmfit_dist.cluster.recipe import load_run_recipe
from ulmfit_dist.cluster.union import checked_specs
from ulmfit_dist.config import data_folder
from ulmfit_dist.errors import InputError, RecipeError
from ulmfit_dist.files import write_json
from ulmfit_dist.modelfolder.config import ModelConfig
from ulmfit_dist.stages import STAGES

QUICKSTART = data_folder("launch") / "quickstart.toml"


def _model(folder: Path, unit: str, direction: str, seed: int = 1) -> Path:
    """Write what a plan reads of a model folder."""
    config = ModelConfig.model_validate(
        {"kind": "language_model", "unit": unit, "direction": direction, "vocab_size": 5000, "training": {"seed": seed}}
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config.model_dump(mode="json"))
    return folder


def _plan(folder: Path, *overrides: str) -> Plan:
    return make_plan(checked_specs(load_sweep(QUICKSTART, list(overrides))), STAGES, folder, SourceDigests(None))


def test_a_given_model_spares_its_pretraining_and_the_last_of_a_unit_its_tokens(tmp_path: Path) -> None:
    every = {spec.name for spec in stage_specs(load_run_recipe(QUICKSTART, []))}
    forward, backward = (_model(tmp_path / one, "subword", one) for one in ("forward", "backward"))
    one = [f"pretrained.subword-forward={forward}"]
    specs = {spec.name: spec for spec in stage_specs(load_run_recipe(QUICKSTART, one))}
    assert set(specs) == every - {"pretrain-subword-forward"}
    assert specs["finetune-subword-forward"].inputs["model"] == forward
    assert specs["finetune-subword-backward"].inputs["model"] == Output("pretrain-subword-backward", "model")
    both = [*one, f"pretrained.subword-backward={backward}"]
    without = {"pretrain-subword-forward", "pretrain-subword-backward", "tokenizer-subword", "tokenize-subword"}
    assert {spec.name for spec in stage_specs(load_run_recipe(QUICKSTART, both))} == every - without


def test_where_every_member_is_given_no_corpus_is_needed_nor_read(tmp_path: Path) -> None:
    path, task = tmp_path / "r.toml", QUICKSTART.parent / "data" / "quickstart" / "mr.csv.gz"
    model = _model(tmp_path / "models" / "lm", "word", "backward")
    path.write_text(
        f'units = ["word"]\ndirections = ["backward"]\n[task]\nsource = "{task}"\n'
        '[pretrained]\nword-backward = "models/lm"\n[corpus]\nsources = ["nowhere.csv"]\n'
    )
    sweep = load_sweep(path, [])
    assert sweep.recipe.pretrained == {"word-backward": str(model)}  # relative to the recipe
    plan = make_plan(checked_specs(sweep), STAGES, tmp_path / "run", SourceDigests(None))
    assert not {"ingest-corpus", "tokenizer-word", "tokenize-word", "pretrain-word-backward"} & set(plan.stages)
    assert set(plan.stages["leakage"].spec.inputs) == {"task train", "task valid", "test"}
    path.write_text(path.read_text().partition("[corpus]")[0])
    specs = {spec.name: spec for spec in checked_specs(load_sweep(path, []))}
    assert specs == {name: stage.spec for name, stage in plan.stages.items()}
    found = estimates(plan)
    assert found["finetune-word-backward"].seconds > found["classifier-word-backward"].seconds / 100 > 0
    assert found["evaluate"].tokens > 0


def test_another_model_moves_its_member_alone(tmp_path: Path) -> None:
    given = f"pretrained.word-forward={_model(tmp_path / 'lm', 'word', 'forward')}"
    before = _plan(tmp_path / "run", given)
    _model(tmp_path / "lm", "word", "forward", seed=2)
    after = _plan(tmp_path / "run", given)
    moved = {name for name, stage in before.stages.items() if stage.folder != after.stages[name].folder}
    assert moved == {"finetune-word-forward", "classifier-word-forward", "ensemble", "evaluate"}


def test_a_larger_given_model_is_estimated_as_such(tmp_path: Path) -> None:
    own = estimates(_plan(tmp_path / "run"))["finetune-word-forward"]
    model = _model(tmp_path / "lm", "word", "forward")  # 400/1150/3 where the quickstart has 96/192/2
    given = estimates(_plan(tmp_path / "run", f"pretrained.word-forward={model}"))["finetune-word-forward"]
    assert given.tokens == own.tokens
    assert given.seconds > 5 * own.seconds


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["pretrained.word-sideways=lm"], "word-sideways"),
        (["pretrained.word-forward="], "pretrained"),
        (["units=['subword']", "pretrained.word-forward=lm"], "the members of this recipe are subword-forward"),
    ],
)
def test_members_that_cannot_be_are_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as error:
        load_run_recipe(QUICKSTART, overrides)
    assert error.value.exit_code == 2


def test_language_models_alone_start_from_nothing_given(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[corpus]\nsources = ["a.csv"]\n[pretrained]\nword-forward = "lm"\n')
    with pytest.raises(RecipeError, match=r"give \[task\]"):
        load_run_recipe(path, [])


@pytest.mark.parametrize("found", ["nothing", "backward", "classifier"])
def test_a_folder_that_is_not_that_language_model_is_refused_before_anything_starts(found: str, tmp_path: Path) -> None:
    folder = tmp_path / "lm"
    if found == "backward":
        _model(folder, "word", "backward")
    elif found == "classifier":
        _model(folder, "word", "forward")
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_text(text.replace("language_model", "classifier"))
    words = {
        "nothing": "not a model folder",
        "backward": "no word-forward language model",
        "classifier": "not a language model",
    }
    with pytest.raises(InputError, match=words[found]) as error:
        _plan(tmp_path / "run", f"pretrained.word-forward={folder}")
    assert error.value.exit_code == 2


def test_a_recipe_without_text_says_both_ways_out(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[task]\nsource = "t.csv"\n')
    with pytest.raises(InputError, match="no text") as error:
        checked_specs(load_sweep(path, []))
    assert "[corpus]" in str(error.value)
    assert "[pretrained]" in str(error.value)
