"""The texts to predict, as a user has them: a file with one text a line, a table, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ulmfit_dist.corpus.quarantine import Tally
from ulmfit_dist.corpus.records import SourceColumns
from ulmfit_dist.corpus.sources import read_source
from ulmfit_dist.errors import InputError

STANDARD_INPUT = "-"
_TABLES = frozenset((".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"))


def read_texts(source: Path, fields: Sequence[str] = ()) -> list[str]:
    """Return the texts of a source in its order; of several `fields` raw documents (tokenization/rawtext.py).

    A table (.csv, .tsv, .jsonl, .parquet; perhaps compressed) gives its rows' `fields`, else their column `text`;
    2018's CSV without a header all its text fields. Any other file, and "-" for standard input, gives a text a line
    without blank ones. Raises InputError for what cannot be read, and for a table with a row that cannot.
    """
    if str(source) != STANDARD_INPUT and _TABLES.intersection(source.suffixes):
        return _rows(source, fields)
    if fields:
        do = "give a .csv, .tsv, .jsonl or .parquet file, or leave --field out"
        raise InputError("only a table has fields", found=str(source), do=do)
    try:
        data = sys.stdin.buffer.read() if str(source) == STANDARD_INPUT else source.read_bytes()
        lines = data.decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        do = "give UTF-8 text, one text a line"
        raise InputError(f"cannot read {source}", found=str(error), do=do) from error
    # Other line ends that Unicode knows are characters of a text.
    return [line.removesuffix("\r") for line in lines if line.strip()]


def _rows(source: Path, fields: Sequence[str]) -> list[str]:
    tally = Tally()
    columns = SourceColumns(text=list(fields) or "text")
    texts = [document.text for document in read_source(source, columns, tally)]
    if tally.total:
        do = "mend or remove these rows: every row that is given gets a prediction"
        raise InputError(f"{tally.total} rows of {source} cannot be read", found=tally.first, do=do)
    return texts
