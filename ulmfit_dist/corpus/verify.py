"""Verification of everything below a path: each finished stage, token stream and document folder, by its digests."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ulmfit_dist.corpus.documents import MANIFEST_NAME, WorkItem, read_item, verify_documents, work_items
from ulmfit_dist.corpus.sealed import DAMAGED, compare_file, read_sealed, repair
from ulmfit_dist.corpus.stream import TokenStream, verify_stream
from ulmfit_dist.errors import DigestError, InputError
from ulmfit_dist.files import read_json
from ulmfit_dist.stage import RECORD_NAME, verify_stage
from ulmfit_dist.tokenization.tokenizer import Tokenizer, load_tokenizer

_SAMPLE_SEED = 20180510  # any fixed number: two people who verify look at the same documents
_CHECKPOINT_KEYS = {"format", "step", "files"}  # of the manifest that training writes beside a checkpoint's two files


def verify_path(path: Path) -> Iterator[tuple[Path, list[DigestError]]]:
    """Yield each thing that can be verified at or below `path`, with its bad files, each named once.

    Of what a finished stage made, the repair names that stage. Raises InputError when there is nothing to verify.
    """
    stages = sorted(record.parent for record in path.rglob(RECORD_NAME))
    folders = sorted(manifest.parent for manifest in path.rglob(MANIFEST_NAME))
    if not stages and not folders:
        raise InputError(f"nothing to verify in {path}", do="give a run directory, a stage folder or a token stream")
    for stage in stages:
        inner = [(folder, _verify_folder(folder)) for folder in folders if folder.is_relative_to(stage)]
        named = {error.what.removesuffix(DAMAGED) for _, errors in inner for error in errors}
        record = f" is not what {stage / RECORD_NAME} says"
        yield stage, [error for error in verify_stage(stage) if error.what.removesuffix(record) not in named]
        for folder, errors in inner:
            yield folder, [_repaired_by(stage, folder, error) for error in errors]
    for folder in folders:
        if not any(folder.is_relative_to(stage) for stage in stages):
            above = [parent for parent in folder.absolute().parents if (parent / RECORD_NAME).is_file()]
            errors = _verify_folder(folder)
            yield folder, [_repaired_by(above[0], folder, error) for error in errors] if above else errors


def verify_retokenized(stage: Path, count: int) -> list[DigestError]:
    """Tokenize `count` documents (a seeded sample of each split) of a finished tokenize stage again, by the reference.

    Reads only the work items that the sample lies in. Returns one error for each document whose token ids differ from
    the stream's. Raises InputError for a folder that is no such stage.
    """
    inputs = read_json(stage / RECORD_NAME)["inputs"] if (stage / RECORD_NAME).is_file() else {}
    if set(inputs) != {"documents", "tokenizer"}:
        raise InputError(f"{stage} is not a tokenize stage", do="give the --out folder of `ulmfit tokenize`")
    tokenizer, bad = load_tokenizer(Path(inputs["tokenizer"])), []
    for folder in sorted({manifest.parent for manifest in stage.rglob(MANIFEST_NAME)}):
        stream = TokenStream.open(folder)
        items = {item.digest: item for item in work_items(Path(inputs["documents"]) / folder.relative_to(stage))}
        sampled = defaultdict(list)
        number = stream.num_documents
        for index in random.Random(_SAMPLE_SEED).sample(range(number), min(count, number)):  # noqa: S311 - no secret
            sampled[stream.shard_of_document(index)].append(index)
        for shard, indices in sorted(sampled.items()):
            item = items.get(stream.manifest.shards[shard].item_digest)
            what = [f"document {stream.document_id(index)} in {folder}" for index in indices]
            found = _differences(stream, indices, tokenizer, item)
            bad += [
                DigestError(f"{name} is not what its tokenizer gives", found=reason, do=_tokenize_again(stage))
                for name, reason in zip(what, found, strict=True)
                if reason
            ]
    return bad


def _verify_folder(folder: Path) -> list[DigestError]:
    path = folder / MANIFEST_NAME
    try:
        written = read_json(path)
    except ValueError:
        written = None
    if isinstance(written, dict) and set(written) == _CHECKPOINT_KEYS:
        files = written["files"].items()
        checks = (compare_file(folder / name, file["bytes"], file["xxh3_128"]) for name, file in files)
        return [error for error in checks if error is not None]
    try:
        holds_documents = "parts" in read_sealed(path, "a folder with a manifest")
    except DigestError as error:
        return [error]
    return verify_documents(folder) if holds_documents else verify_stream(folder)


def _repaired_by(stage: Path, folder: Path, error: DigestError) -> DigestError:
    kind = read_json(stage / RECORD_NAME)["kind"]
    again = f"delete {stage} and run the same command again: it makes this {kind} stage anew"
    return DigestError(error.what, found=error.found, do=error.do.replace(repair(folder), again))


def _differences(stream: TokenStream, indices: Sequence[int], tokenizer: Tokenizer, item: WorkItem | None) -> list[str]:
    """What differs in each of these documents of one work item; an empty string for a document as it should be."""
    if item is None:
        return ["its work item is not among the documents"] * len(indices)
    try:
        texts = {document.id: document.text for document in read_item(item)}
    except DigestError as error:
        return [str(error)] * len(indices)
    known = [index for index in indices if stream.document_id(index) in texts]
    encoded = tokenizer.encode_reference([texts[stream.document_id(index)] for index in known])
    expected = {index: encoding.ids for index, encoding in zip(known, encoded, strict=True)}
    found = []
    for index in indices:
        ids = stream.document(index)
        if index not in expected:
            found.append("its id is not among the documents")
        elif np.array_equal(ids, expected[index]):
            found.append("")
        else:
            found.append(f"{len(ids)} tokens, expected {len(expected[index])}")
    return found


def _tokenize_again(stage: Path) -> str:
    return f"delete {stage} and tokenize again"
