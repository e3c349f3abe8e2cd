"""The stages of several runs together: what runs have in common is one stage, and runs once.

A stage that every run shares, or that only one kind of run has, keeps its plain name; the others are told apart by what
the runs of each have in common: `classifier-word-forward@chain-thaw,seed=2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ulmfit_dist.cluster.grid import FOLD, Choice, Sweep
from ulmfit_dist.cluster.languages import LANGUAGE
from ulmfit_dist.cluster.pipeline import EVALUATE, stage_specs
from ulmfit_dist.cluster.plan import Output, StageSpec
from ulmfit_dist.config import Settings
from ulmfit_dist.crawl.checks import check_inputs
from ulmfit_dist.crawl.settings import IngestSettings
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import fingerprint
from ulmfit_dist.finetune.compare import ComparedRun, CompareSettings
from ulmfit_dist.finetune.evaluate import METRICS_NAME
from ulmfit_dist.finetune.search import SearchClassifierSettings, trial_settings
from ulmfit_dist.modelfolder.config import read_config
from ulmfit_dist.stage import LABEL_MARK

COMPARE = "compare"
_SEED = "seed"


@dataclass
class _Shared:
    """A stage with the runs that have it, by their number."""

    spec: StageSpec
    runs: list[int] = field(default_factory=list)


def sweep_specs(sweep: Sweep) -> list[StageSpec]:
    """Return the stages of every run, equal ones once, and after more runs than one of a task what compares them."""
    specs = [stage_specs(choice.recipe) for choice in sweep.choices]
    if len(specs) == 1:
        return specs[0]
    identities = _Identities()
    keys: list[dict[str, int]] = []
    stages: dict[int, _Shared] = {}
    for run, own in enumerate(specs):
        keys.append({})
        for spec in own:
            key = keys[run][spec.name] = identities.of(spec, keys[run])
            stages.setdefault(key, _Shared(spec)).runs.append(run)
    names = _names(sweep, stages)
    union = [_renamed(key, shared, keys[shared.runs[0]], names) for key, shared in stages.items()]
    if all(choice.recipe.task is not None for choice in sweep.choices):
        union.append(_compare_spec(sweep, [names[own[EVALUATE]] for own in keys]))
    return union


def checked_specs(sweep: Sweep) -> list[StageSpec]:
    """Return the stages of every run, once the first rows of every source, and the labels of labelled ones, were read.

    Raises InputError for a recipe without text, a pretrained model that is not there or another member's, a source that
    cannot be what the recipe says, or a search that draws what a setting cannot be.
    """
    for choice in sweep.choices:
        if choice.recipe.corpus is None and choice.recipe.needs_corpus:
            do = "add [corpus] with sources = [...], or [pretrained] with a model folder for each member"
            raise InputError(f"recipe {choice.recipe.name} has no text", do=do)
        for member, folder in choice.recipe.pretrained.items():
            _check_pretrained(member, Path(folder))
    specs = sweep_specs(sweep)
    for spec in specs:
        if isinstance(spec.settings, IngestSettings):
            check_inputs(spec.settings, {})
        if isinstance(spec.settings, SearchClassifierSettings):
            for drawn in spec.settings.search.draws(spec.settings.training.seed):
                trial_settings(spec.settings, drawn)
    return specs


def _check_pretrained(member: str, folder: Path) -> None:
    config = read_config(folder, "language_model")
    found = f"{config.unit}-{config.direction}"
    if found != member:
        do = f"give [pretrained] a {member} model, or name this one {found}"
        raise InputError(f"{folder} is no {member} language model", found=found, do=do)


class _Identities:
    """Numbers stages before any file is read: two of two runs have one number when they are the same stage."""

    def __init__(self) -> None:
        self._settings: dict[tuple[type, str], str] = {}
        self._stages: dict[tuple[Any, ...], int] = {}

    def of(self, spec: StageSpec, upstream: Mapping[str, int]) -> int:
        """Return the number of a stage, given those of its run's stages by name."""
        inputs = tuple(
            (name, upstream[source.stage], source.path) if isinstance(source, Output) else (name, str(source))
            for name, source in spec.inputs.items()
        )
        key = spec.name, spec.kind, self._semantic(spec.settings), inputs
        return self._stages.setdefault(key, len(self._stages))

    def _semantic(self, settings: Settings) -> str:
        key = type(settings), settings.model_dump_json()
        if key not in self._settings:  # equal ones are gone through once: that takes 0.3 ms
            self._settings[key] = fingerprint(settings.semantic())
        return self._settings[key]


def _names(sweep: Sweep, stages: Mapping[int, _Shared]) -> dict[int, str]:
    plain: dict[str, list[int]] = {}
    for key, shared in stages.items():
        plain.setdefault(shared.spec.name, []).append(key)
    names = {}
    for name, keys in plain.items():
        taken: set[str] = set()
        for key in keys:
            runs = [sweep.choices[run] for run in stages[key].runs]
            common = _in_common(runs)
            # A language is told even where it is the only one with such a stage.
            label = sweep.label(common) if len(keys) > 1 or LANGUAGE in common else ""
            if label in taken:
                label = sweep.label(runs[0].chosen)
            taken.add(label)
            names[key] = f"{name}{LABEL_MARK}{label}" if label else name
    return names


def _in_common(runs: list[Choice]) -> dict[str, Any]:
    first, *others = runs
    return {
        key: value
        for key, value in first.chosen.items()
        if all(key in other.chosen and other.chosen[key] == value for other in others)
    }


def _renamed(key: int, shared: _Shared, keys: Mapping[str, int], names: Mapping[int, str]) -> StageSpec:
    inputs = {
        name: replace(source, stage=names[keys[source.stage]]) if isinstance(source, Output) else source
        for name, source in shared.spec.inputs.items()
    }
    return replace(shared.spec, name=names[key], inputs=inputs)


def _compare_spec(sweep: Sweep, evaluations: list[str]) -> StageSpec:
    runs = []
    for choice in sweep.choices:
        repeated = {key: value for key, value in choice.chosen.items() if _repeats(key)}
        compared = {key: value for key, value in choice.chosen.items() if key not in repeated}
        fold = repeated.pop(FOLD, None)
        label, repeat = sweep.label(compared), sweep.label(repeated)
        runs.append(ComparedRun(label=label, compared=compared, repeat=repeat, fold=fold))
    settings = CompareSettings(runs=runs, level=sweep.recipe.evaluate.bootstrap.level)
    inputs = {f"run-{run:05d}": Output(name, METRICS_NAME) for run, name in enumerate(evaluations)}
    return StageSpec(COMPARE, "compare", settings, inputs)


def _repeats(key: str) -> bool:
    """Whether a setting makes runs that are alike but for chance: another seed, another fold."""
    return key == FOLD or key.rpartition(".")[2] == _SEED
