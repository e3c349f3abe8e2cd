"""A tiny tokenizer that only says what a stream must know, and a maker of streams from lists of ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ulmfit_dist.corpus.stream import TokenStream, write_manifest, write_shard
from ulmfit_dist.tokenization.tokenizer import Encoded


@dataclass(frozen=True)
class FakeTokenizer:
    vocab_size: int = 100
    fingerprint: str = "0123456789abcdef" * 2
    unit: str = "word"
    name: str = "fake"
    unk_id: int = 0
    pad_id: int = 1
    bos_id: int = 2

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        return [encoded([2, *(3 + ord(character) % 90 for character in text)]) for text in texts]


def encoded(ids: Sequence[int]) -> Encoded:
    return Encoded(
        np.array(ids, np.uint32), characters=10 * len(ids), words=len(ids), unknown=list(ids).count(0), unknown_bits=0.1
    )


def document_ids(count: int) -> list[str]:
    return [f"{index:032x}" for index in range(count)]


@pytest.fixture
def tokenizer() -> FakeTokenizer:
    return FakeTokenizer()


@pytest.fixture
def documents() -> list[list[int]]:
    """Documents of 1 to 30 ids, each beginning with bos; a few as short as the marker alone."""
    random = np.random.default_rng(5)
    lengths = [1, 1, *random.integers(1, 31, 35).tolist()]
    return [[2, *random.integers(3, 100, length - 1).tolist()] for length in lengths]


MakeStream = Callable[..., TokenStream]


@pytest.fixture
def make_stream(tmp_path: Path) -> MakeStream:
    """`make(documents, num_shards)`: a stream of these documents cut into that many shards of uneven size."""

    def make(documents: list[list[int]], num_shards: int = 1, vocab_size: int = 100) -> TokenStream:
        folder = tmp_path / f"stream-{num_shards}-{len(documents)}-{vocab_size}"
        tokenizer = FakeTokenizer(vocab_size)
        cuts = [round(len(documents) * (index / num_shards) ** 1.5) for index in range(num_shards + 1)]
        pairs = list(zip(document_ids(len(documents)), map(encoded, documents), strict=True))
        receipts = [
            write_shard(folder / f"shard-{index:05d}.h5", pairs[low:high], tokenizer, f"item {index}")
            for index, (low, high) in enumerate(pairwise(cuts))
        ]
        write_manifest(folder, receipts, tokenizer)
        return TokenStream.open(folder)

    return make
