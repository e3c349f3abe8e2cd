"""Commands that make models and use them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ulmfit_dist.cli.byhand import by_hand, model_folder, parse_direction, tokenizer_of
from ulmfit_dist.cli.options import AsJson, Direction, Out, Overrides, SettingsFrom
from ulmfit_dist.cli.printing import STDOUT, print_json
from ulmfit_dist.errors import InputError
from ulmfit_dist.tokenization.rawtext import split_fields

if TYPE_CHECKING:
    from ulmfit_dist.models.packed_lstm import Precision

_SHOWN = 70  # characters of a text in the table


def pretrain(
    stream: Annotated[Path, typer.Argument(help="a token stream folder (tokenize's --out)", show_default=False)],
    direction: Direction,
    out: Out,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="default: the one the stream was made with")
    ] = None,
    recipe: SettingsFrom = None,
    overrides: Overrides = None,
) -> None:
    """Pretrain an AWD-LSTM language model with DDP through Ray Train.

    Example: ulmfit pretrain stream --direction backward --out lm --set pretrain.training.epochs=2

    On eight ranks without Ray: torchrun --nproc-per-node 8 -m ulmfit_dist pretrain ...
    """
    from ulmfit_dist.cluster.pipeline import pretrain_settings
    from ulmfit_dist.cluster.recipe import load_run_recipe

    settings = pretrain_settings(load_run_recipe(recipe, overrides or []), parse_direction(direction))
    inputs = {"tokens": stream, "tokenizer": tokenizer or tokenizer_of(stream)}
    by_hand("pretrain", settings, inputs, out)


def lr_find(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="STREAM_OR_MODEL", help="a token stream folder, or a language model folder", show_default=False
        ),
    ],
    out: Out,
    documents: Annotated[Path | None, typer.Option("--documents", help="the task's text, for a model")] = None,
    direction: Annotated[str, typer.Option("--direction", help="of a stream's model: forward or backward")] = "forward",
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="default: the stream's own")] = None,
    lowest: Annotated[float, typer.Option("--lowest", help="rate of the first step")] = 1e-7,
    highest: Annotated[float, typer.Option("--highest", help="rate of the last step")] = 10.0,
    steps: Annotated[int, typer.Option("--steps", help="steps from one to the other")] = 100,
    frozen: Annotated[bool, typer.Option("--frozen", help="for frozen_lr: train the decoder alone")] = False,
    recipe: SettingsFrom = None,
    overrides: Overrides = None,
) -> None:
    """Look for a learning rate: train a copy with rising rates, write lr-find.json and lr-find.png, suggest one.

    Of a token stream for pretrain.training.lr, of a language model and documents for finetune.training.lr.

    Example: ulmfit lr-find stream --out rates --set pretrain.training.num_lanes=128
    """
    from ulmfit_dist.cluster.pipeline import finetune_settings, pretrain_settings
    from ulmfit_dist.cluster.recipe import load_run_recipe
    from ulmfit_dist.config import parse_settings
    from ulmfit_dist.finetune.rates import LRFindSettings
    from ulmfit_dist.modelfolder.config import CONFIG_NAME
    from ulmfit_dist.training.rates import SweepSettings

    values = {"lowest": lowest, "highest": highest, "steps": steps, "frozen": frozen}
    sweep, chosen = parse_settings(SweepSettings, values, "the options"), load_run_recipe(recipe, overrides or [])
    model = model_folder(source)
    if (model / CONFIG_NAME).is_file():
        if documents is None:
            raise InputError("a rate for fine-tuning depends on the text", do="give --documents DIR")
        settings = LRFindSettings(sweep=sweep, finetune=finetune_settings(chosen))
        by_hand("lr-find", settings, {"model": model, "train": documents}, out)
    else:
        settings = LRFindSettings(sweep=sweep, pretrain=pretrain_settings(chosen, parse_direction(direction)))
        by_hand("lr-find", settings, {"tokens": source, "tokenizer": tokenizer or tokenizer_of(source)}, out)


def finetune_lm(
    model: Annotated[Path, typer.Argument(help="a language model folder", show_default=False)],
    documents: Annotated[Path, typer.Argument(help="the task's training documents", show_default=False)],
    valid: Annotated[Path, typer.Option("--valid", help="documents for validation", show_default=False)],
    out: Out,
    recipe: SettingsFrom = None,
    overrides: Overrides = None,
) -> None:
    """Fine-tune a language model on the task's text; a word vocabulary is rebuilt and remapped.

    Example: ulmfit finetune-lm lm/model task/train --valid task/valid --out task-lm
    """
    from ulmfit_dist.cluster.pipeline import finetune_settings
    from ulmfit_dist.cluster.recipe import load_run_recipe

    settings = finetune_settings(load_run_recipe(recipe, overrides or []))
    by_hand("finetune-lm", settings, {"model": model_folder(model), "train": documents, "valid": valid}, out)


def train_classifier(
    model: Annotated[Path, typer.Argument(help="a (fine-tuned) language model folder", show_default=False)],
    train: Annotated[Path, typer.Argument(help="labelled training documents", show_default=False)],
    valid: Annotated[Path, typer.Option("--valid", help="labelled validation documents", show_default=False)],
    out: Out,
    recipe: SettingsFrom = None,
    overrides: Overrides = None,
) -> None:
    """Train a classifier on a language model's encoder with gradual unfreezing.

    Example: ulmfit train-classifier task-lm/model task/train --valid task/valid --out classifier

    On eight ranks, each batch shared: torchrun --nproc-per-node 8 -m ulmfit_dist train-classifier ...
    """
    from ulmfit_dist.cluster.pipeline import classifier_settings
    from ulmfit_dist.cluster.recipe import load_run_recipe

    settings = classifier_settings(load_run_recipe(recipe, overrides or []))
    by_hand("train-classifier", settings, {"model": model_folder(model), "train": train, "valid": valid}, out)


def ensemble(
    models: Annotated[list[Path], typer.Argument(help="classifier folders", show_default=False)],
    valid: Annotated[Path, typer.Option("--valid", help="labelled validation documents", show_default=False)],
    out: Out,
    recipe: SettingsFrom = None,
    overrides: Overrides = None,
) -> None:
    """Join classifiers into an ensemble folder, which predict and evaluate take like a model.

    Example: ulmfit ensemble forward backward --valid task/valid --out both
    """
    from ulmfit_dist.cluster.recipe import load_run_recipe

    settings = load_run_recipe(recipe, overrides or []).ensemble
    members = {f"member-{path.name}": model_folder(path) for path in models}
    if len(members) < len(models):
        raise InputError("two members have the same folder name", found=", ".join(map(str, models)), do="rename one")
    by_hand("ensemble", settings, {**members, "valid": valid}, out)


def baseline(
    train: Annotated[Path, typer.Argument(help="labelled training documents", show_default=False)],
    test: Annotated[Path, typer.Argument(help="test documents; their labels are not looked at", show_default=False)],
    valid: Annotated[Path, typer.Option("--valid", help="labelled validation documents", show_default=False)],
    out: Out,
    recipe: SettingsFrom = None,
    overrides: Overrides = None,
) -> None:
    """Fit tf-idf with logistic regression, to stand beside a model in evaluate's table.

    Example: ulmfit baseline task/train task/test --valid task/valid --out baseline
    """
    from ulmfit_dist.cluster.pipeline import reference_settings
    from ulmfit_dist.cluster.recipe import load_run_recipe

    settings = reference_settings(load_run_recipe(recipe, overrides or []))
    by_hand("baseline", settings, {"train": train, "valid": valid, "test": test}, out)


def leakage(
    test: Annotated[Path, typer.Argument(help="test documents", show_default=False)],
    read: Annotated[list[Path], typer.Argument(help="document folders that models have read", show_default=False)],
    out: Out,
) -> None:
    """Look for test documents in what models have read, to be told by evaluate.

    Example: ulmfit leakage task/test task/train task/valid corpus/train --out leakage
    """
    from ulmfit_dist.corpus.leakage import LeakageSettings

    by_hand("leakage", LeakageSettings(), {"test": test, **{str(folder): folder for folder in read}}, out)


def evaluate(
    model: Annotated[Path, typer.Argument(help="a classifier or ensemble folder", show_default=False)],
    test: Annotated[Path, typer.Argument(help="labelled test documents", show_default=False)],
    out: Out,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="what `ulmfit baseline` wrote")] = None,
    leakage: Annotated[Path | None, typer.Option("--leakage", help="what `ulmfit leakage` wrote")] = None,
    recipe: SettingsFrom = None,
    overrides: Overrides = None,
) -> None:
    """Measure a model or ensemble on test documents: accuracy, macro-F1, intervals, beside the baseline.

    Example: ulmfit evaluate both task/test --baseline baseline --leakage leakage --out scores
    """
    from ulmfit_dist.cluster.recipe import load_run_recipe

    settings = load_run_recipe(recipe, overrides or []).evaluate
    given = {"model": model_folder(model), "test": test, "baseline": baseline, "leakage": leakage}
    by_hand("evaluate", settings, {name: path for name, path in given.items() if path is not None}, out)


def predict(
    model: Annotated[Path, typer.Argument(help="a classifier or ensemble folder", show_default=False)],
    text: Annotated[list[str] | None, typer.Option("--text", help="a text; may be given several times")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="one text a line, or a table (.csv, .tsv, .jsonl, .parquet); - for standard input"),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", help="a table's column of text, default text; several: in the order of training"),
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", help="float32, or on a CPU int8: faster for many texts, near to float32")
    ] = "float32",
    as_json: AsJson = False,
) -> None:
    """Print what is predicted for texts, in their order: class probabilities, labels from their thresholds on, values.

    Example: ulmfit predict runs/quickstart/ensemble --text "a moving and funny film"

    ulmfit predict model --file mails.csv --field subject --field body --json

    head -n 100 reviews.txt | ulmfit predict model --file -
    """
    from ulmfit_dist.serve.inputs import read_texts
    from ulmfit_dist.serve.predictor import Predictor

    texts = [*(text or []), *(read_texts(file, field or ()) if file else [])]
    if not texts:
        raise InputError("nothing to predict", do='give --text "..." or --file FILE')
    answers = Predictor.open(model_folder(model), _precision(precision)).answers(texts)
    fields = [split_fields(one) for one in texts]
    if as_json:
        print_json([_named(one) | answer for one, answer in zip(fields, answers, strict=True)])
    else:
        STDOUT.print(_table(fields, answers))


def _precision(text: str) -> Precision:
    known: dict[str, Precision] = {"float32": "float32", "int8": "int8"}
    if text not in known:
        raise InputError("no such precision", found=repr(text), do="give --precision float32 or int8")
    return known[text]


def _named(fields: list[str]) -> dict[str, Any]:
    return {"text": fields[0]} if len(fields) == 1 else {"fields": fields}


def _table(texts: list[list[str]], answers: list[dict[str, Any]]) -> Table:
    """Return a row a text: of several labels those that are given, then every probability, or the value."""
    several, names = "labels" in answers[0], list(answers[0].get("probabilities", ()))
    table = Table("text", *(["labels"] if several else []), *map(escape, names or ["value"]), box=None)
    for fields, answer in zip(texts, answers, strict=True):
        shown = " | ".join(fields)
        chosen: list[str] = answer["labels"] if several else [answer.get("label", "")]
        numbers = [f"{answer['probabilities'][name]:.3f}" for name in names] or [f"{answer['value']:g}"]
        marked = [f"[bold]{p}[/]" if name in chosen else p for name, p in zip(names or ["value"], numbers, strict=True)]
        labels = [escape(", ".join(chosen) or "none")] if several else []
        table.add_row(escape(shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."), *labels, *marked)
    return table
