"""Token streams for the training benches: the first tokens of a real one, or random ones of the same sizes.

ULMFIT_STREAM names a folder with the streams train/ and valid/, as `ulmfit tokenize` writes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.tokenization.tokenizer import Encoded
from ulmfit_dist.training.lm import LMData

REAL = Path(os.environ["ULMFIT_STREAM"]) if "ULMFIT_STREAM" in os.environ else None
VOCAB = 60_000
VALID_TOKENS = 400_000


def training_data(folder: Path, tokens: int) -> LMData:
    """Return a training stream of that many tokens and a validation stream, made anew below `folder`."""
    return LMData(_stream(folder, "train", tokens), _stream(folder, "valid", VALID_TOKENS), "forward")


def describe() -> str:
    """Return which text it is, for the printed figures."""
    return f"{REAL}" if REAL else "random tokens"


def _stream(folder: Path, split: str, tokens: int) -> TokenStream:
    documents = _real(REAL / split) if REAL else _random()
    pairs, left = [], tokens
    for number, ids in enumerate(documents):
        kept = ids[:left].astype(np.uint32)
        pairs.append((f"{number:032x}", Encoded(kept, 5 * len(kept), len(kept), 0, 0.0)))
        left -= len(kept)
        if not left:
            break
    assert not left, f"{REAL}/{split} has {left} tokens too few"
    target = folder / split
    receipt = write_shard(target / "shard-00000.h5", pairs, _Numbers(), "0" * 32)  # type: ignore[arg-type]
    write_manifest(target, [receipt], _Numbers())  # type: ignore[arg-type]
    return TokenStream.open(target)


def _real(folder: Path) -> Iterable[np.ndarray]:
    stream = TokenStream.open(folder)
    assert stream.vocab_size == VOCAB
    return (np.asarray(stream.document(index)) for index in range(stream.num_documents))


def _random() -> Iterable[np.ndarray]:
    generator = np.random.default_rng(1)
    while True:
        yield generator.integers(3, VOCAB, size=500)


class _Numbers:
    unit, name, vocab_size, unk_id, pad_id, bos_id, fingerprint = "word", "numbers", VOCAB, 0, 1, 2, "f" * 32
