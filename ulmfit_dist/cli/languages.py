"""Commands on languages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ulmfit_dist.cli.options import AsJson
from ulmfit_dist.cli.printing import STDOUT, print_json
from ulmfit_dist.config import data_folder

if TYPE_CHECKING:
    from ulmfit_dist.crawl.newlanguage import NewLanguage


def new_language(
    code: Annotated[str, typer.Argument(help="ISO 639-1 code of the language, else 639-3", show_default=False)],
    samples: Annotated[list[str], typer.Argument(help="text of the language, files or folders", show_default=False)],
    licence: Annotated[
        str, typer.Option("--licence", help="of the sample, which golden.jsonl quotes", show_default=False)
    ],
    tokenizers: Annotated[
        Path | None,
        typer.Option("--tokenizers", help="where the folder goes; default: tokenizers/ of this installation"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the folder of a language from a sample of its text: recipes, golden cases, and where they are from.

    Look at golden.jsonl with a reader of the language; `pytest tests/unit/tokenization/test_golden.py` runs it.

    Example: ulmfit new-language fo sample.txt --licence "public domain"
    """
    from ulmfit_dist.corpus.locations import locate
    from ulmfit_dist.crawl.newlanguage import new_language as write_language

    found = write_language(
        code, [locate(sample) for sample in samples], tokenizers or data_folder("tokenizers"), licence
    )
    if as_json:
        print_json(vars(found))
    else:
        _print_found(found)


def _print_found(found: NewLanguage) -> None:
    ends = " ".join(found.ends) or "none"
    pieces = f"{found.character_coverage:%}".rstrip("0%").rstrip(".") + " % of the characters"
    lines = (
        f"script: {found.script}, {found.letters} different letters",
        f"ends of sentences: {ends}",
        f"words: {found.word or 'no recipe'} ({found.why})",
        f"pieces: {pieces}{', the others in bytes' if found.byte_fallback else ''}",
        *(f"look at: {remark}" for remark in found.remarks),
        f"written: {found.folder}",
    )
    for line in lines:
        STDOUT.print(line, markup=False, highlight=False, soft_wrap=True)
