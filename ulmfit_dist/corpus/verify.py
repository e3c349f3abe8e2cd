"""Verification of everything below a path: each finished stage, token stream and document folder, by its digests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ulmfit_dist.corpus.documents import MANIFEST_NAME, read_documents, verify_documents
from ulmfit_dist.corpus.stream import TokenStream, verify_stream
from ulmfit_dist.errors import DigestError, InputError
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import RECORD_NAME, verify_stage
from ulmfit_dist.tokenization.tokenizer import load_tokenizer

_SAMPLE_SEED = 20180510  # any fixed number: two people who verify look at the same documents


def verify_path(path: Path) -> Iterator[tuple[Path, list[DigestError]]]:
    """Yield each thing that can be verified at or below `path`, with its bad files.

    Raises InputError when there is nothing to verify.
    """
    records = sorted(path.rglob(RECORD_NAME))
    for record in records:
        yield record.parent, verify_stage(record.parent)
    manifests = sorted(path.rglob(MANIFEST_NAME))
    for manifest in manifests:
        folder = manifest.parent
        documents = any(folder.glob("*.parquet")) and not any(folder.glob("*.h5"))
        yield folder, verify_documents(folder) if documents else verify_stream(folder)
    if not records and not manifests:
        raise InputError(f"nothing to verify in {path}", do="give a run directory, a stage folder or a token stream")


def verify_retokenized(stage: Path, count: int) -> list[DigestError]:
    """Tokenize `count` documents (a seeded sample) of a finished tokenize stage again and compare with the stream.

    Returns one error for each document whose token ids differ. Raises InputError for a folder that is no such stage.
    """
    inputs = read_json(stage / RECORD_NAME)["inputs"] if (stage / RECORD_NAME).is_file() else {}
    if set(inputs) != {"documents", "tokenizer"}:
        raise InputError(f"{stage} is not a tokenize stage", do="give the --out folder of `ulmfit tokenize`")
    tokenizer, bad = load_tokenizer(Path(inputs["tokenizer"])), []
    for stream_folder in sorted({manifest.parent for manifest in stage.rglob(MANIFEST_NAME)}):
        stream = TokenStream.open(stream_folder)
        rows = {stream.document_id(i): i for i in range(stream.num_documents)}
        chosen = set(random.Random(_SAMPLE_SEED).sample(sorted(rows), min(count, len(rows))))  # noqa: S311 - a sample, not a secret
        split = stream_folder.relative_to(stage)
        for document in read_documents(Path(inputs["documents"]) / split):
            if document.id not in chosen:
                continue
            expected = tokenizer.encode([document.text])[0].ids
            if not np.array_equal(stream.document(rows[document.id]), expected):
                bad.append(
                    DigestError(
                        f"document {document.id} in {stream_folder} is not what its tokenizer gives",
                        found=f"{len(stream.document(rows[document.id]))} tokens, expected {len(expected)}",
                        do=f"delete {stage} and tokenize again",
                    )
                )
    return bad
