"""The command line: `ulmfit`, the same as `python -m ulmfit_dist`.

Commands parse, call a stage or the coordinator, and print. Every error of errors.py ends here, as one sentence and an
exit code; nothing below this module exits or prints.

A command imports what it runs when it runs: together that takes four seconds (torch, Ray, matplotlib, spaCy), of which
`--help` needs nothing and each command its own part.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ulmfit_dist.errors import InputError, UlmfitError
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import RECORD_NAME

if TYPE_CHECKING:
    from ulmfit_dist.cluster.estimate import Estimate
    from ulmfit_dist.cluster.plan import Plan, PlannedStage
    from ulmfit_dist.cluster.recipe import Recipe
    from ulmfit_dist.cluster.run import RunResult
    from ulmfit_dist.config import Settings
    from ulmfit_dist.corpus.locations import Location

app = typer.Typer(
    name="ulmfit",
    help="From raw text to AWD-LSTM language models and ULMFiT classifiers, on one machine or a Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_stdout = Console()
_stderr = Console(stderr=True)

Direction = Annotated[str, typer.Option("--direction", help="forward or backward", show_default=False)]
Out = Annotated[Path, typer.Option("--out", help="folder to write", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change a setting, e.g. pretrain.training.epochs=2"),
]
SettingsFrom = Annotated[Path | None, typer.Option("--recipe", help="take the settings from this recipe")]
RunDir = Annotated[Path | None, typer.Option("--run-dir", help="where the run lives; default runs/NAME")]
Address = Annotated[
    str | None, typer.Option("--address", help="a Ray cluster; default RAY_ADDRESS, else one that starts by itself")
]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Recipes = Annotated[
    Path,
    typer.Argument(help="a recipe file, e.g. launch/quickstart.toml, or a shipped one by name", show_default=False),
]


def main() -> None:
    """Run the command line; errors of errors.py become a sentence on stderr and their exit code."""
    try:
        app()
    except UlmfitError as error:
        _stderr.print(f"[red]error:[/] {error.what}", highlight=False, soft_wrap=True)
        for name, text in (("found", error.found), ("do", error.do)):
            if text:
                _stderr.print(f"  {name}: {text}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)


@app.command()
def run(
    recipe: Recipes,
    overrides: Overrides = None,
    address: Address = None,
    run_dir: RunDir = None,
    cpus: Annotated[int | None, typer.Option("--cpus", help="CPUs for the Ray that starts by itself")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a whole recipe; run again to continue, finished stages are kept.

    Example: ulmfit run launch/quickstart.toml --set pretrain.training.epochs=2 --run-dir runs/longer
    """
    from ulmfit_dist.cluster.console import make_watch
    from ulmfit_dist.cluster.recipe import load_run_recipe
    from ulmfit_dist.cluster.run import run_recipe
    from ulmfit_dist.cluster.session import Where
    from ulmfit_dist.stages import STAGES

    settings = load_run_recipe(recipe, overrides or [])
    where = (Where.choose(address, cpus), make_watch(_stderr))
    result = run_recipe(settings, STAGES, _run_dir(settings, run_dir), where)
    if as_json:
        _print_json(_run_json(result))
    else:
        _print_result(result)


@app.command()
def plan(recipe: Recipes, overrides: Overrides = None, run_dir: RunDir = None, as_json: AsJson = False) -> None:
    """Show the stages of a recipe: done or not, what each reads, tokens, estimated time and memory. Starts no Ray.

    Example: ulmfit plan launch/quickstart.toml
    """
    from ulmfit_dist.cluster.estimate import estimate
    from ulmfit_dist.cluster.recipe import load_run_recipe
    from ulmfit_dist.cluster.run import plan_recipe
    from ulmfit_dist.stages import STAGES

    settings = load_run_recipe(recipe, overrides or [])
    planned = plan_recipe(settings, STAGES, _run_dir(settings, run_dir))
    estimates = {stage.name: estimate(stage, settings, planned) for stage in planned.stages.values()}
    if as_json:
        _print_json([_stage_json(stage, estimates[stage.name]) for stage in planned.stages.values()])
    else:
        _print_plan(settings, planned, estimates)


@app.command()
def ingest(
    sources: Annotated[list[str], typer.Argument(help="files, folders or URLs of raw text", show_default=False)],
    out: Out,
    labelled: Annotated[bool, typer.Option("--labelled", help="the sources have labels")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, help="actors that read large sources")] = 2,
    recipe: SettingsFrom = None,
    overrides: Overrides = None,
) -> None:
    """Read raw text (CSV, JSONL, Parquet, wikiextractor, text, WARC) into documents, each with a decision and a reason.

    Example: ulmfit ingest reviews.csv crawl.warc.gz --out documents
    """
    from ulmfit_dist.cluster.pipeline import hand_ingest
    from ulmfit_dist.cluster.recipe import load_run_recipe
    from ulmfit_dist.crawl.settings import source_inputs

    settings = hand_ingest(load_run_recipe(recipe, overrides or []), sources, workers, labelled=labelled)
    _by_hand("ingest", settings, source_inputs(settings, Path()), out)


@app.command()
def train_tokenizer(
    documents: Annotated[Path, typer.Argument(help="a document folder (ingest's --out)", show_default=False)],
    tokenizer_recipe: Annotated[str, typer.Option("--recipe", help="e.g. en/word_60k, or a file", show_default=False)],
    out: Out,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="e.g. max_vocab=8000")
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option("--vocabulary", help="keep these tokens and ids: .json, or a token a line")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="actors that count words")] = 2,
) -> None:
    """Learn a vocabulary or a SentencePiece model from documents.

    Example: ulmfit train-tokenizer documents --recipe en/word_60k --set max_vocab=8000 --out words
    """
    from ulmfit_dist.cluster.tokenizing import TrainTokenizerSettings
    from ulmfit_dist.config import apply_overrides
    from ulmfit_dist.tokenization.recipe import load_recipe

    chosen = load_recipe(tokenizer_recipe, apply_overrides({}, overrides or []))
    settings = TrainTokenizerSettings(recipe=chosen, workers=workers)
    inputs = {"documents": documents} | ({"vocabulary": vocabulary} if vocabulary else {})
    _by_hand("train-tokenizer", settings, inputs, out)


@app.command()
def tokenize(
    documents: Annotated[Path, typer.Argument(help="a document folder", show_default=False)],
    tokenizer: Annotated[Path, typer.Option("--tokenizer", help="a tokenizer folder", show_default=False)],
    out: Out,
    workers: Annotated[int, typer.Option("--workers", min=1, help="actors that tokenize")] = 2,
) -> None:
    """Turn documents into memory-mapped token streams, on a pool of Ray actors.

    Example: ulmfit tokenize documents --tokenizer words --out stream --workers 4
    """
    from ulmfit_dist.cluster.tokenizing import TokenizeSettings

    settings = TokenizeSettings(workers=workers)
    _by_hand("tokenize", settings, {"documents": documents, "tokenizer": tokenizer}, out)


@app.command()
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
    """
    from ulmfit_dist.cluster.pipeline import pretrain_settings
    from ulmfit_dist.cluster.recipe import load_run_recipe

    settings = pretrain_settings(load_run_recipe(recipe, overrides or []), _direction(direction))
    inputs = {"tokens": stream, "tokenizer": tokenizer or _tokenizer_of(stream)}
    _by_hand("pretrain", settings, inputs, out)


@app.command()
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
    _by_hand("finetune-lm", settings, {"model": _model(model), "train": documents, "valid": valid}, out)


@app.command()
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
    """
    from ulmfit_dist.cluster.pipeline import classifier_settings
    from ulmfit_dist.cluster.recipe import load_run_recipe

    settings = classifier_settings(load_run_recipe(recipe, overrides or []))
    _by_hand("train-classifier", settings, {"model": _model(model), "train": train, "valid": valid}, out)


@app.command()
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
    members = {f"member-{path.name}": _model(path) for path in models}
    if len(members) < len(models):
        raise InputError("two members have the same folder name", found=", ".join(map(str, models)), do="rename one")
    _by_hand("ensemble", settings, {**members, "valid": valid}, out)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="a classifier or ensemble folder", show_default=False)],
    test: Annotated[Path, typer.Argument(help="labelled test documents", show_default=False)],
    out: Out,
    train: Annotated[Path | None, typer.Option("--train", help="training documents, for baseline and leakage")] = None,
    valid: Annotated[Path | None, typer.Option("--valid", help="validation documents, for the baseline")] = None,
    recipe: SettingsFrom = None,
    overrides: Overrides = None,
) -> None:
    """Measure a model or ensemble on test documents: accuracy, macro-F1, intervals, baseline, leakage.

    Example: ulmfit evaluate both task/test --train task/train --valid task/valid --out scores
    """
    from ulmfit_dist.cluster.recipe import load_run_recipe

    settings = load_run_recipe(recipe, overrides or []).evaluate
    given = {"model": _model(model), "test": test, "train": train, "valid": valid}
    _by_hand("evaluate", settings, {name: path for name, path in given.items() if path is not None}, out)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="a classifier or ensemble folder", show_default=False)],
    text: Annotated[list[str] | None, typer.Option("--text", help="a text; may be given several times")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="a file with one text a line")] = None,
    as_json: AsJson = False,
) -> None:
    """Print class probabilities for texts.

    Example: ulmfit predict runs/quickstart/ensemble --text "a moving and funny film"
    """
    from ulmfit_dist.serve.predictor import Predictor

    texts = [*(text or []), *(_lines(file) if file else [])]
    if not texts:
        raise InputError("nothing to predict", do='give --text "..." or --file FILE')
    predictor = Predictor.open(_model(model))
    rows = [dict(zip(predictor.labels, row.tolist(), strict=True)) for row in predictor.predict(texts)]
    if as_json:
        _print_json([{"text": one, "probabilities": row} for one, row in zip(texts, rows, strict=True)])
        return
    table = Table("text", *predictor.labels, box=None)
    for one, row in zip(texts, rows, strict=True):
        shown = one if len(one) <= 70 else f"{one[:67]}..."
        table.add_row(shown, *(f"[bold]{p:.3f}[/]" if p == max(row.values()) else f"{p:.3f}" for p in row.values()))
    _stdout.print(table)


@app.command()
def report(run_dir: Annotated[Path, typer.Argument(help="a run directory", show_default=False)]) -> None:
    """Write the run's report.html again and print its path.

    Example: ulmfit report runs/quickstart
    """
    from ulmfit_dist.report.render import render_report

    _stdout.print(str(render_report(run_dir)), markup=False, highlight=False, soft_wrap=True)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="a run directory, stage folder or token stream", show_default=False)],
    retokenize: Annotated[int, typer.Option("--retokenize", min=0, help="also tokenize so many documents again")] = 0,
) -> None:
    """Compare everything below PATH with its digests; name each bad file; exit 1 if there is any.

    Example: ulmfit verify runs/quickstart
    """
    from ulmfit_dist.corpus.verify import verify_path, verify_retokenized

    bad, checked = [], 0
    for folder, errors in verify_path(path):
        checked += 1
        again = _is_tokenize(folder) and retokenize and not errors
        bad += [*errors, *(verify_retokenized(folder, retokenize) if again else [])]
    for error in bad:
        _stdout.print(str(error), markup=False, highlight=False, soft_wrap=True)
    _stdout.print(f"{checked} folders verified, {len(bad)} bad files", highlight=False)
    if bad:
        raise typer.Exit(1)


@app.command()
def doctor(
    folder: Annotated[Path, typer.Argument(help="where runs would be written")] = Path("runs"), as_json: AsJson = False
) -> None:
    """Check this machine: Python, torch, Ray, memory, disk; each problem with its cure.

    Example: ulmfit doctor
    """
    from ulmfit_dist.cluster.doctor import examine

    findings = list(examine(folder))
    if as_json:
        _print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]good[/]" if finding.good else "[red]bad [/]"
            cure = "" if finding.good else f"; do: {finding.do}"
            _stdout.print(f"{mark} {finding.subject}: {finding.found}{cure}", highlight=False, soft_wrap=True)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def _by_hand(kind: str, settings: Settings, inputs: Mapping[str, Location], out: Path) -> None:
    from ulmfit_dist.cluster.byhand import run_by_hand
    from ulmfit_dist.cluster.console import make_watch
    from ulmfit_dist.cluster.session import Where
    from ulmfit_dist.stages import STAGES

    summary = run_by_hand(STAGES[kind], settings, inputs, out, (Where.choose(None), make_watch(_stderr)))
    _print_json(summary)


def _run_dir(recipe: Recipe, run_dir: Path | None) -> Path:
    return (run_dir or Path("runs") / recipe.name).resolve()


def _direction(text: str) -> Any:
    if text not in ("forward", "backward"):
        raise InputError("no such direction", found=repr(text), do="give --direction forward or backward")
    return text


def _tokenizer_of(stream: Path) -> Path:
    """Return the tokenizer folder that a tokenize stage says it used."""
    for folder in (stream, *stream.resolve().parents):
        record = folder / RECORD_NAME
        if record.is_file() and "tokenizer" in read_json(record)["inputs"]:
            return Path(read_json(record)["inputs"]["tokenizer"])
    raise InputError(f"{stream} does not say which tokenizer made it", do="give --tokenizer DIR")


def _is_tokenize(folder: Path) -> bool:
    record = folder / RECORD_NAME
    return record.is_file() and read_json(record)["kind"] == "tokenize"


def _model(path: Path) -> Path:
    """Take a stage's folder for the model folder in it."""
    for inside in ("model", "ensemble"):
        if (path / RECORD_NAME).is_file() and (path / inside).is_dir():
            return path / inside
    return path


def _lines(file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read {file}", found=str(error), do="give a UTF-8 text file, one text a line"
        ) from error


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def _stage_json(stage: PlannedStage, guess: Estimate) -> dict[str, Any]:
    return {
        "name": stage.name,
        "kind": stage.spec.kind,
        "fingerprint": stage.fingerprint,
        "done": stage.done(),
        "reads": {name: str(path) for name, path in {**stage.inputs, **stage.remote}.items()},
        "after": list(stage.upstream),
        **vars(guess),
    }


def _print_plan(recipe: Recipe, planned: Plan, estimates: dict[str, Estimate]) -> None:
    table = Table(box=None, title=f"{recipe.name}: {len(planned.stages)} stages", title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("reads")
    for name in ("state", "tokens", "time", "memory"):
        table.add_column(name, no_wrap=True, justify="right")
    for stage in planned.stages.values():
        guess = estimates[stage.name]
        reads = ", ".join(stage.upstream) or ", ".join(path.name for path in stage.sources)
        done = stage.done()
        time = f"{guess.seconds:,.1f} s" if done else f"~{guess.seconds:,.0f} s"
        tokens = f"{guess.tokens:,.0f}" if guess.tokens else ""
        state = "[green]done[/]" if done else "to run"
        table.add_row(stage.name, reads, state, tokens, time, f"~{guess.memory_mb:,.0f} MB")
    _stdout.print(table)
    left = sum(estimates[s.name].seconds * s.spec.cpus for s in planned.stages.values() if not s.done())
    _stdout.print(f"still to do: about {left:,.0f} CPU seconds" if left else "nothing left to do", highlight=False)


def _metrics(result: RunResult) -> dict[str, Any]:
    folder = result.plan.stages["evaluate"].folder if "evaluate" in result.plan.stages else None
    return dict(read_json(folder / "metrics.json")) if folder else {}


def _percent(interval: dict[str, float]) -> tuple[str, str]:
    return f"{interval['value']:.1%}", f"{interval['low']:.1%} - {interval['high']:.1%}"


def _run_json(result: RunResult) -> dict[str, Any]:
    return {
        "run_dir": str(result.run_dir),
        "stages": len(result.plan.stages),
        "ran": result.ran,
        "report": str(result.report),
        "metrics": _metrics(result),
    }


def _print_result(result: RunResult) -> None:
    metrics = _metrics(result)
    if metrics:
        table = Table("on the test split", "accuracy", "95 % interval", "macro-F1", box=None)
        for row in metrics["systems"]:
            accuracy, f1 = row["accuracy"], row["macro_f1"]
            name = f"[bold]{row['name']}[/]" if row["name"] == metrics["final"] else row["name"]
            table.add_row(name, *_percent(accuracy), f"{f1['value']:.3f}")
        _stdout.print(table)
    _stdout.print(f"report: {_from_here(result.report)}", markup=False, highlight=False, soft_wrap=True)


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
