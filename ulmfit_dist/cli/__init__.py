"""The command line: `ulmfit`, the same as `python -m ulmfit_dist`.

Commands parse, call a stage or the coordinator, and print. Every error of errors.py ends here, as one sentence and an
exit code; nothing below this package exits or prints.

A command imports what it runs when it runs: together that takes four seconds (torch, Ray, matplotlib, spaCy), of which
`--help` needs nothing and each command its own part.
"""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from ulmfit_dist.cli import data, languages, machine, models, runs, watching, weights
from ulmfit_dist.cli.printing import STDERR
from ulmfit_dist.errors import UlmfitError

app = typer.Typer(
    name="ulmfit",
    help="From raw text to AWD-LSTM language models and ULMFiT classifiers, on one machine or a Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# In the order of `--help`: a whole recipe, then its stages, then what is done with their results.
for _command in (
    runs.run,
    runs.plan,
    data.ingest,
    data.train_tokenizer,
    data.tokenize,
    models.pretrain,
    models.lr_find,
    models.finetune_lm,
    models.train_classifier,
    models.ensemble,
    models.baseline,
    models.leakage,
    models.evaluate,
    models.predict,
    weights.import_weights,
    weights.export_weights,
    runs.report,
    watching.submit,
    watching.status,
    watching.watch,
    watching.cancel,
    data.verify,
    languages.new_language,
    machine.doctor,
    machine.site,
):
    app.command()(_command)


def main() -> None:
    """Run the command line; errors of errors.py become a sentence on stderr and their exit code."""
    try:
        app()
    except UlmfitError as error:
        STDERR.print(f"[red]error:[/] {escape(error.what)}", highlight=False, soft_wrap=True)
        for name, text in (("found", error.found), ("do", error.do)):
            if text:
                STDERR.print(f"  {name}: {text}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
