"""The stage that looks for a learning rate: for pretraining on token streams, or for fine-tuning a model on a task."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ulmfit_dist.config import Settings
from ulmfit_dist.files import write_json
from ulmfit_dist.finetune.lm import FinetuneLMSettings, adapted_model, with_rates
from ulmfit_dist.finetune.tokens import write_task_stream
from ulmfit_dist.modelfolder.folder import load_language_model
from ulmfit_dist.stage import StageCall, Summary
from ulmfit_dist.training.lm import LMData
from ulmfit_dist.training.pretrain import PretrainSettings, initial_model, open_streams
from ulmfit_dist.training.rateplot import plot_sweep
from ulmfit_dist.training.rates import Sweep, SweepSettings, sweep_rates

RESULT_NAME = "lr-find.json"
PLOT_NAME = "lr-find.png"


class LRFindSettings(Settings):
    """Which rates are tried, and the training that they are for: of the two, the one that the inputs belong to."""

    sweep: SweepSettings = SweepSettings()
    pretrain: PretrainSettings = PretrainSettings()
    finetune: FinetuneLMSettings = FinetuneLMSettings()


def find_rate(call: StageCall[LRFindSettings]) -> Summary:
    """Run a learning-rate range test; writes lr-find.json and lr-find.png.

    Inputs: `tokens` and `tokenizer`, as pretraining takes them; or `model` and `train`, as fine-tuning does.
    Raises what `sweep_rates` raises, InputError for inputs that are not what they should be.
    """
    sweep = _of_model(call) if "model" in call.inputs else _of_streams(call)
    write_json(call.out / RESULT_NAME, sweep.as_json())
    plot_sweep(call.out / PLOT_NAME, sweep)
    suggestions = sweep.suggestions()
    plot = str(call.out / PLOT_NAME)
    return {"suggestion": suggestions["valley"], **suggestions, "ended": sweep.ended, "plot": plot}


def _of_streams(call: StageCall[LRFindSettings]) -> Sweep:
    settings = call.settings.pretrain
    tokenizer, data = open_streams(call.inputs, settings.direction)
    model = initial_model(settings, tokenizer)
    return sweep_rates(model, data, settings.training, call.settings.sweep, call.reporter)


def _of_model(call: StageCall[LRFindSettings]) -> Sweep:
    settings, folders = call.settings.finetune, [call.inputs["train"]]
    model, tokenizer, config = load_language_model(call.inputs["model"])
    adapted, task_tokenizer, _ = adapted_model(model, tokenizer, folders, settings)
    with tempfile.TemporaryDirectory(dir=call.out) as scratch:
        stream = write_task_stream(folders, task_tokenizer, Path(scratch) / "train")
        data = LMData(stream, stream, config.direction)  # nothing is validated
        return sweep_rates(adapted, data, with_rates(settings, adapted), call.settings.sweep, call.reporter)
