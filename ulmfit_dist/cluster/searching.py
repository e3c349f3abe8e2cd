"""The stage that searches a classifier's settings: trials under Ray Tune, of which ASHA ends the worse ones early.

Each trial is a training of its own with its own folder and checkpoints, so that a search that was killed goes on: what
trials had reported they report again at once, and train on from there. Which trials are ended early depends on which
report first, with more than one at a time also on the machine: the choice is in trials.json, and a second search may
make another one. What is kept is the best trial's model, the very one that its settings give without a search.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from ulmfit_dist.cluster.stopping import stop_file_watched
from ulmfit_dist.errors import DataError, InputError, StoppedError, UlmfitError
from ulmfit_dist.events import EVENTS_NAME, EventLog, Reporter
from ulmfit_dist.files import fingerprint, read_json, write_json
from ulmfit_dist.finetune.classifier import CURVES_NAME, VALID_PREDICTIONS_NAME, train_classifier
from ulmfit_dist.finetune.search import (
    FAILED_NAME,
    TRIALS_FOLDER,
    SearchClassifierSettings,
    trial_folder,
    trial_rows,
    trial_settings,
    validations,
    write_trials,
)
from ulmfit_dist.stage import RECORD_NAME, STOP_NAME, StageCall, StageKind, Summary, run_stage

_RAY_FOLDER = "ray_tune"
_TRIAL, _EPOCH, _VALUE = "trial", "epoch", "value"
_MAX_RESTARTS = 3  # of a trial whose process died
_FAR = 10_000  # epochs; ASHA's steps between grace_epochs and there
_TRAINING = StageKind("trial", 1, train_classifier, resumable=True)


def search_classifier(call: StageCall[SearchClassifierSettings]) -> Summary:
    """Stage: train the trials of a search; write the best one's outputs, trials.json and trials.csv.

    Inputs and outputs else are those of `finetune.classifier.train_classifier`. Raises InputError when its documents or
    labels are refused, DataError when no trial came to its end, StoppedError after checkpoints.
    """
    section = call.settings.search
    trials = len(section.draws(call.settings.training.seed))
    scratch = call.out / _RAY_FOLDER
    shutil.rmtree(scratch, ignore_errors=True)
    results = _tuner(call, trials).fit()
    for result in (results[i] for i in range(len(results))):
        if result.error is not None and result.config is not None:
            _note_failure(trial_folder(call.out, result.config[_TRIAL]), _died(result.error))
    if (call.out / STOP_NAME).exists():
        raise StoppedError("the search was stopped by request", do="run the same command to go on")
    rows = trial_rows(call.settings, call.out)
    values = {row["trial"]: row["value"] for row in rows if row["state"] == "done"}
    if not values:
        raise _first_failure(call.out, trials)
    best = section.best(values)
    folder = trial_folder(call.out, best)
    summary = dict(read_json(folder / RECORD_NAME)["summary"])
    # Copied, not moved: a kill in between leaves the trial whole.
    shutil.copytree(folder / "model", call.out / "model", dirs_exist_ok=True)
    for name in (VALID_PREDICTIONS_NAME, CURVES_NAME):
        shutil.copyfile(folder / name, call.out / name)
    write_trials(section, rows, best, call.out)
    shutil.rmtree(call.out / TRIALS_FOLDER)
    shutil.rmtree(scratch)
    return {**summary, "search": {"trials": trials, **rows[best]}}


def _tuner(call: StageCall[SearchClassifierSettings], trials: int) -> tune.Tuner:
    settings, section = call.settings, call.settings.search
    # As for any stage: the ledger counts the CPUs, Ray's own count only keeps the trials to that many at a time.
    each = {"cpu": min(1.0, settings.cpus_per_worker), "gpu": settings.gpus_per_worker}
    lower = section.best({0: 0.0, 1: 1.0}) == 0
    return tune.Tuner(
        tune.with_resources(partial(_train, call=call), each),
        param_space={_TRIAL: tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(
            metric=_VALUE,
            mode="min" if lower else "max",
            scheduler=ASHAScheduler(
                time_attr=_EPOCH,
                grace_period=section.grace_epochs,
                reduction_factor=section.reduction,
                max_t=_FAR * section.grace_epochs,
            ),
            max_concurrent_trials=settings.concurrent,
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(call.out / _RAY_FOLDER),
            failure_config=tune.FailureConfig(max_failures=_MAX_RESTARTS),
            callbacks=[_Shown(call.reporter, trials)],
            verbose=0,
        ),
    )


class _Shown(tune.Callback):
    """Tells the stage's reporter of the trials."""

    def __init__(self, reporter: Reporter, trials: int) -> None:
        self._reporter, self._trials, self._ended = reporter, trials, 0

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        del iteration, trials
        self._reporter.event(_TRIAL, trial=trial.config[_TRIAL], epoch=result[_EPOCH], value=result[_VALUE])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        del iteration, trials, trial
        self._ended += 1
        self._reporter.progress(self._ended, self._trials)


class _Told(EventLog):
    """A trial's event log that tells Tune of each validation, first of those of an earlier attempt."""

    def __init__(self, folder: Path, metric: str) -> None:
        super().__init__(folder / EVENTS_NAME)
        self._metric = metric
        self._told: set[int] = set()
        for step, row in validations(folder).items():
            self._tell(step, row)

    def event(self, kind: str, **fields: Any) -> None:
        super().event(kind, **fields)
        if kind == "validation":
            self._tell(fields["step"], fields)

    def _tell(self, step: int, row: dict[str, Any]) -> None:
        if step in self._told:
            return
        if self._metric not in row:
            has = ", ".join(name for name in ("loss", "accuracy", "r2") if name in row)
            raise InputError(f"this task has no {self._metric} in its validation", found=has, do="set search.metric")
        self._told.add(step)
        tune.report({_EPOCH: len(self._told), _VALUE: row[self._metric]})


def _train(config: dict[str, Any], call: StageCall[SearchClassifierSettings]) -> None:
    """One trial. What is ours to say goes into a file of its folder; another error is Tune's to try again."""
    drawn = call.settings.search.draws(call.settings.training.seed)[config[_TRIAL]]
    settings, folder = trial_settings(call.settings, drawn), trial_folder(call.out, config[_TRIAL])
    (folder / FAILED_NAME).unlink(missing_ok=True)
    if (call.out / STOP_NAME).exists():
        return
    try:
        with stop_file_watched(call.out / STOP_NAME):
            trial = StageCall(settings, call.inputs, folder, _Told(folder, call.settings.search.metric))
            run_stage(_TRAINING, trial, fingerprint(settings.semantic()))
    except StoppedError:
        return
    except UlmfitError as error:
        _note_failure(folder, error)


def _note_failure(folder: Path, error: UlmfitError) -> None:
    told = {"what": error.what, "found": error.found, "do": error.do, "input": isinstance(error, InputError)}
    write_json(folder / FAILED_NAME, told)


def _died(error: Exception) -> DataError:
    do = "look for memory or hardware trouble; the search continues from its trials' checkpoints"
    return DataError("the process of a trial died", found=str(error).strip().splitlines()[-1], do=do)


def _first_failure(out: Path, trials: int) -> UlmfitError:
    """Return why no trial came to its end; ASHA never ends the best one, so each that did not has failed."""
    told = next(read_json(path) for i in range(trials) if (path := trial_folder(out, i) / FAILED_NAME).exists())
    kind = InputError if told["input"] else DataError
    return kind(f"no trial came to its end: {told['what']}", found=told["found"], do=told["do"])
