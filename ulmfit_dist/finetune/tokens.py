"""The task's text as token streams, made in this process: a task has megabytes where a corpus has gigabytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ulmfit_dist.corpus.documents import read_documents, read_item, work_items
from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.tokenization.tokenizer import Tokenizer


def task_texts(folders: Sequence[Path]) -> Iterator[str]:
    """Yield the kept texts of document folders, folder by folder."""
    return (document.text for folder in folders for document in read_documents(folder))


def write_task_stream(folders: Sequence[Path], tokenizer: Tokenizer, out: Path) -> TokenStream:
    """Write the kept documents of the folders, in order, as one token stream (a shard a work item) and open it."""
    out.mkdir(parents=True, exist_ok=True)
    items = [item for folder in folders for item in work_items(folder)]
    receipts = []
    for number, item in enumerate(items):
        documents = read_item(item)
        encoded = tokenizer.encode([document.text for document in documents])
        pairs = [(document.id, ids) for document, ids in zip(documents, encoded, strict=True)]
        receipts.append(write_shard(out / f"shard-{number:05d}.h5", pairs, tokenizer, item.digest))
    write_manifest(out, receipts, tokenizer)
    return TokenStream.open(out)
