"""Commands that carry language models over from and to other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ulmfit_dist.cli.options import Out
from ulmfit_dist.cli.printing import print_json


def import_weights(
    weights: Annotated[Path, typer.Argument(help="fwd_wt103.h5, a .pth of fastai, a .pt", show_default=False)],
    itos: Annotated[Path, typer.Option("--itos", help="its vocabulary: itos.pkl, corpus.*.data", show_default=False)],
    out: Out,
    direction: Annotated[
        str | None, typer.Option("--direction", help="forward or backward; default: fwd or bwd in the file's name")
    ] = None,
    language: Annotated[str, typer.Option("--language", help="the language whose rules cut words")] = "en",
    rules: Annotated[
        str | None, typer.Option("--rules", help="rule set; default: the one that the vocabulary was made with")
    ] = None,
) -> None:
    """Make a model folder of published weights: fast.ai 2018, fastai 1 and 2, awd-lstm-lm. Nothing in them is run.

    Example: ulmfit import-weights fwd_wt103.h5 --itos itos_wt103.pkl --out wt103
    """
    from ulmfit_dist.config import parse_settings
    from ulmfit_dist.modelfolder import importing

    values = {"direction": direction, "language": language, "rules": rules}
    settings = parse_settings(importing.ImportSettings, values, "the options")
    print_json(importing.import_weights(weights, itos, out, settings))


def export_weights(
    model: Annotated[Path, typer.Argument(help="a language model folder", show_default=False)], out: Out
) -> None:
    """Write a language model of words for fastai 2: lm.pth, encoder.pth and itos.pkl.

    Example: ulmfit export-weights lm/model --out fastai
    """
    from ulmfit_dist.cli.byhand import model_folder
    from ulmfit_dist.modelfolder import exporting

    print_json(exporting.export_weights(model_folder(model), out))
