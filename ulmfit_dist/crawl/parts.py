"""Parts: the candidates of all pieces, with what was decided of them, become the parts of the document folders."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ulmfit_dist.corpus.documents import DROP, KEEP, PartWriter
from ulmfit_dist.crawl.decisions import AS_READ, KEY_TWICE
from ulmfit_dist.crawl.fates import REASONS, read_fates
from ulmfit_dist.crawl.piecefiles import read_candidates
from ulmfit_dist.files import digest_file, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ulmfit_dist.crawl.decisions import Part, Run


_KEPT = np.array([AS_READ, KEY_TWICE], np.uint8)


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


def make_part_writer(folder: Path, out: Path, splits: Sequence[str], basis: str) -> Callable[[Part], None]:
    """Return the function that writes a part to `out/<split>/` and its receipt to `folder`."""

    def write(part: Part) -> None:
        number = splits.index(part.split)
        labels: Counter[str] = Counter()
        languages: Counter[str] = Counter()
        with PartWriter(out / part.split, part.number) as writer:
            for group in part.groups:
                table = pa.Table.from_batches([batch for run in group for batch in _rows(folder, run, number)])
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


def _rows(folder: Path, run: Run, number: int) -> Iterator[pa.RecordBatch]:
    """The documents of a run as they are written: without those set aside, with what became of them and their cluster.

    number: of the split that the run is counted within.
    """
    fates, members = read_fates(folder, run.piece)
    mine = np.flatnonzero(fates["split"] == number)[run.start : run.stop]
    start = int(mine[0])
    for batch in read_candidates(folder, run.piece, slice(start, int(mine[-1]) + 1)):
        some = fates[start : start + batch.num_rows]
        columns = {name: batch.column(name) for name in batch.schema.names}
        dropped = pa.array(np.isin(some["fate"], _KEPT, invert=True))
        columns["decision"] = pc.if_else(dropped, DROP, columns["decision"])
        columns["reason"] = pc.if_else(dropped, pa.array(REASONS).take(pa.array(some["fate"])), columns["reason"])
        among = (members["row"] >= start) & (members["row"] < start + batch.num_rows)
        columns["cluster"], columns["cluster_size"] = _clusters(members[among], start, batch.num_rows)
        whole = pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)
        yield whole.filter(pa.array((some["split"] == number) & (some["fate"] != KEY_TWICE)))
        start += batch.num_rows


def _clusters(members: np.ndarray, start: int, rows: int) -> tuple[pa.Array, pa.Array]:
    """The cluster's id and size for each of so many rows from `start`: "" and 1 for a document alone."""
    names, sizes = [""] * rows, np.ones(rows, np.int32)
    for member in members:
        names[int(member["row"]) - start] = member["id"].tobytes().hex()
    sizes[members["row"].astype(np.int64) - start] = members["size"]
    return pa.array(names), pa.array(sizes)


def _counts(table: pa.Table, name: str) -> dict[str, int]:
    """How often each value stands in a column; none and "" are no values."""
    return {row["values"]: row["counts"] for row in pc.value_counts(table.column(name)).to_pylist() if row["values"]}


def _receipt_path(folder: Path, part: Part) -> Path:
    return folder / f"part-{part.split}-{part.number:05d}.json"
