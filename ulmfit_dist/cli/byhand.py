"""What the commands that run one stage by hand have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ulmfit_dist.cli.printing import STDERR, print_json
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import RECORD_NAME

if TYPE_CHECKING:
    from ulmfit_dist.config import Settings
    from ulmfit_dist.corpus.lanes import Direction
    from ulmfit_dist.corpus.locations import Location


def by_hand(kind: str, settings: Settings, inputs: Mapping[str, Location], out: Path) -> None:
    """Run one stage into `out` and print its summary as JSON; under torchrun the first rank alone prints."""
    from ulmfit_dist.cluster.byhand import run_by_hand
    from ulmfit_dist.cluster.console import make_watch
    from ulmfit_dist.cluster.session import Where
    from ulmfit_dist.stages import STAGES

    summary = run_by_hand(STAGES[kind], settings, inputs, out, (Where.choose(None), make_watch(STDERR)))
    if summary is not None:
        print_json(summary)


def parse_direction(text: str) -> Direction:
    """Return the direction of an option; InputError for another word."""
    known: dict[str, Direction] = {"forward": "forward", "backward": "backward"}
    if text not in known:
        raise InputError("no such direction", found=repr(text), do="give --direction forward or backward")
    return known[text]


def tokenizer_of(stream: Path) -> Path:
    """Return the tokenizer folder that a tokenize stage says it used."""
    for folder in (stream, *stream.resolve().parents):
        record = folder / RECORD_NAME
        if record.is_file() and "tokenizer" in read_json(record)["inputs"]:
            return Path(read_json(record)["inputs"]["tokenizer"])
    raise InputError(f"{stream} does not say which tokenizer made it", do="give --tokenizer DIR")


def model_folder(path: Path) -> Path:
    """Take a stage's folder for the model folder in it."""
    for inside in ("model", "ensemble"):
        if (path / RECORD_NAME).is_file() and (path / inside).is_dir():
            return path / inside
    return path
