"""Parts: the candidates of all pieces, with what was decided of them, become the parts of the document folders."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ulmfit_dist.corpus.documents import DROP, KEEP, PartWriter
from ulmfit_dist.crawl.candidates import read_rows, read_split
from ulmfit_dist.crawl.decisions import DUPLICATE, KEY_TWICE
from ulmfit_dist.files import digest_file, read_json, write_bytes, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ulmfit_dist.crawl.decisions import Part, Run


@dataclass(frozen=True)
class PartReceipt:
    """What a part holds: its description for the manifest, and counts of its documents (of the kept ones by name).

    `basis` stands for the candidates and decisions that it was made from.
    """

    basis: str
    description: dict[str, Any]
    decisions: dict[str, int]
    labels: dict[str, int]
    languages: dict[str, int]


def save_decided(folder: Path, piece: int, decided: np.ndarray) -> None:
    """Leave the decisions on a piece where those who write parts find them."""
    write_bytes(_decided_path(folder, piece), decided.tobytes())


def make_part_writer(folder: Path, out: Path, splits: Sequence[str], basis: str) -> Callable[[Part], None]:
    """Return the function that writes a part to `out/<split>/` and its receipt to `folder`."""

    def write(part: Part) -> None:
        number = splits.index(part.split)
        labels: Counter[str] = Counter()
        languages: Counter[str] = Counter()
        with PartWriter(out / part.split, part.number) as writer:
            for group in part.groups:
                table = pa.Table.from_batches(
                    [batch for run in group for batch in _rows(folder, run, part.split, number)]
                )
                writer.add(table)
                kept = table.filter(pc.equal(table.column("decision"), KEEP))
                labels.update(_counts(kept, "label"))
                languages.update(_counts(kept, "lang"))
        receipt = PartReceipt(basis, writer.description, dict(writer.decisions), dict(labels), dict(languages))
        write_json(_receipt_path(folder, part), asdict(receipt))

    return write


def read_part_receipt(folder: Path, part: Part) -> PartReceipt:
    """Return the receipt of a part that is written."""
    return PartReceipt(**read_json(_receipt_path(folder, part)))


def is_written(folder: Path, out: Path, part: Part, basis: str) -> bool:
    """Whether a part made from `basis` is there and whole, and its receipt too."""
    if not _receipt_path(folder, part).is_file():
        return False
    receipt = read_part_receipt(folder, part)
    file = out / part.split / receipt.description["name"]
    return receipt.basis == basis and file.is_file() and digest_file(file) == receipt.description["xxh3_128"]


def _rows(folder: Path, run: Run, split: str, number: int) -> Iterator[pa.RecordBatch]:
    """The documents of a run as they are written: without those set aside, duplicates dropped."""
    decided = np.fromfile(_decided_path(folder, run.piece), np.uint8)
    fates = decided[read_rows(folder, run.piece)["split"] == number][run.start : run.stop]
    start = 0
    for batch in read_split(folder, run.piece, split, slice(run.start, run.stop)):
        fate = fates[start : start + batch.num_rows]
        start += batch.num_rows
        columns = {name: batch.column(name) for name in batch.schema.names}
        for name, value in (("decision", DROP), ("reason", "duplicate")):
            columns[name] = pc.if_else(pa.array(fate == DUPLICATE), value, columns[name])
        decided_batch = pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)
        yield decided_batch.filter(pa.array(fate != KEY_TWICE))


def _counts(table: pa.Table, name: str) -> dict[str, int]:
    """How often each value stands in a column; none and "" are no values."""
    return {row["values"]: row["counts"] for row in pc.value_counts(table.column(name)).to_pylist() if row["values"]}


def _decided_path(folder: Path, piece: int) -> Path:
    return folder / f"{piece:05d}.decided"


def _receipt_path(folder: Path, part: Part) -> Path:
    return folder / f"part-{part.split}-{part.number:05d}.json"
