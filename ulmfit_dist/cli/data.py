"""Commands from raw text to token streams, and the check of what they wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ulmfit_dist.cli.byhand import by_hand
from ulmfit_dist.cli.options import Out, Overrides, SettingsFrom
from ulmfit_dist.cli.printing import STDERR, STDOUT
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import RECORD_NAME


def ingest(
    sources: Annotated[list[str], typer.Argument(help="files, folders or URLs of raw text", show_default=False)],
    out: Out,
    labelled: Annotated[bool, typer.Option("--labelled", help="the sources have labels")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, help="actors that read large sources")] = 2,
    recipe: SettingsFrom = None,
    overrides: Overrides = None,
) -> None:
    """Read raw text (CSV, JSONL, Parquet, wikiextractor, text, WARC) into documents, each with a decision and a reason.

    Of pages of a crawl a report.html is left beside the documents, as `ulmfit report` makes it.

    Example: ulmfit ingest reviews.csv crawl.warc.gz --out documents
    """
    from ulmfit_dist.cluster.pipeline import hand_ingest
    from ulmfit_dist.cluster.recipe import load_run_recipe
    from ulmfit_dist.crawl.settings import source_inputs

    settings = hand_ingest(load_run_recipe(recipe, overrides or []), sources, workers, labelled=labelled)
    by_hand("ingest", settings, source_inputs(settings, Path()), out)
    if "crawl" in read_json(out / RECORD_NAME)["summary"]:
        from ulmfit_dist.report.render import render_crawl  # matplotlib takes a second to load

        STDERR.print(f"report: {render_crawl(out)}", markup=False, highlight=False, soft_wrap=True)


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
    from ulmfit_dist.cluster.settings import TrainTokenizerSettings
    from ulmfit_dist.config import apply_overrides
    from ulmfit_dist.tokenization.recipe import load_recipe

    chosen = load_recipe(tokenizer_recipe, apply_overrides({}, overrides or []))
    settings = TrainTokenizerSettings(recipe=chosen, workers=workers)
    inputs = {"documents": documents} | ({"vocabulary": vocabulary} if vocabulary else {})
    by_hand("train-tokenizer", settings, inputs, out)


def tokenize(
    documents: Annotated[Path, typer.Argument(help="a document folder", show_default=False)],
    tokenizer: Annotated[Path, typer.Option("--tokenizer", help="a tokenizer folder", show_default=False)],
    out: Out,
    workers: Annotated[int, typer.Option("--workers", min=1, help="actors that tokenize")] = 2,
) -> None:
    """Turn documents into memory-mapped token streams, on a pool of Ray actors.

    Example: ulmfit tokenize documents --tokenizer words --out stream --workers 4
    """
    from ulmfit_dist.cluster.settings import TokenizeSettings

    settings = TokenizeSettings(workers=workers)
    by_hand("tokenize", settings, {"documents": documents, "tokenizer": tokenizer}, out)


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
        STDOUT.print(str(error), markup=False, highlight=False, soft_wrap=True)
    STDOUT.print(f"{checked} folders verified, {len(bad)} bad files", highlight=False)
    if bad:
        raise typer.Exit(1)


def _is_tokenize(folder: Path) -> bool:
    record = folder / RECORD_NAME
    return record.is_file() and read_json(record)["kind"] == "tokenize"
