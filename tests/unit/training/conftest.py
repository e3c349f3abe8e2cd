"""Small token streams and a tokenizer that is only a name and a size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ulmfit_dist.corpus.manifest import write_manifest
from ulmfit_dist.corpus.shard import write_shard
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.tokenization.tokenizer import Encoded

MakeStream = Callable[..., TokenStream]


@dataclass(frozen=True)
class NumberTokenizer:
    """Stands for a trained tokenizer where only ids are needed."""

    vocab_size: int = 20
    unit: str = "word"
    name: str = "numbers"
    unk_id: int = 0
    pad_id: int = 1
    bos_id: int = 2
    fingerprint: str = "f" * 32


def counting_documents(num_documents: int, seed: int, vocab_size: int = 20) -> list[list[int]]:
    """Documents that count upwards from a random start: easy to learn, no two alike."""
    generator = np.random.default_rng(seed)
    out = []
    for _ in range(num_documents):
        start, length = int(generator.integers(100)), int(generator.integers(3, 20))
        out.append([2, *(3 + (start + i) % (vocab_size - 3) for i in range(length))])
    return out


@pytest.fixture
def make_stream(tmp_path: Path) -> MakeStream:
    """Write documents as a token stream of two shards and open it."""

    def make(name: str, documents: list[list[int]], tokenizer: NumberTokenizer | None = None) -> TokenStream:
        tokenizer = tokenizer or NumberTokenizer()
        folder = tmp_path / name
        folder.mkdir(parents=True)
        encoded = []
        for index, ids in enumerate(documents):
            unknown = ids.count(0)
            one = Encoded(np.array(ids, np.uint32), 5 * len(ids), len(ids), unknown, 3.0 * unknown)
            encoded.append((f"{index:032x}", one))
        half = len(encoded) // 2
        receipts = [
            write_shard(folder / f"shard-{index:05d}.h5", part, tokenizer, "0" * 32)  # type: ignore[arg-type]
            for index, part in enumerate((encoded[:half], encoded[half:]))
        ]
        write_manifest(folder, receipts, tokenizer)  # type: ignore[arg-type]
        return TokenStream.open(folder)

    return make


@pytest.fixture
def counting() -> Callable[..., list[list[int]]]:
    """Give the maker of counting documents."""
    return counting_documents
