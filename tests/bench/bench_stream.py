"""Reading token streams: time of a window, first batch and memory at 1e9 tokens, 1,000 shards, 1,000 flipped bits.

    pytest -m slow -s tests/bench/bench_stream.py

Tokens are random (speed does not depend on them). The page cache is warm: the streams have just been written. What has
a bar is timed in CPU seconds of the process, page faults included: what else the machine does is left out. The billion
tokens take 2 GB below TMPDIR for a minute.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from ulmfit_dist.corpus.lanes import Direction, LaneReader, Window, epoch_order
from ulmfit_dist.corpus.stream import TokenStream, verify_stream, write_manifest, write_shard
from ulmfit_dist.tokenization.tokenizer import Encoded

pytestmark = pytest.mark.slow

VOCAB, LANES, BPTT, DOCUMENT = 60_000, 64, 70, 250
_FIRST_BATCH = """
import json, sys, time
from pathlib import Path
from ulmfit_dist.corpus.lanes import LaneReader, epoch_order
from ulmfit_dist.corpus.stream import TokenStream

def anonymous():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 2**20

found, start, imported = {"GiB imported": anonymous()}, time.perf_counter(), time.process_time()
stream = TokenStream.open(Path(sys.argv[1]))
found["open s"] = time.perf_counter() - start
reader = LaneReader(stream, epoch_order(stream.num_documents, 1, 0), 64, sys.argv[2])
reader.window(0, 70, range(64))
found["first batch s after open"] = time.perf_counter() - start - found["open s"]
found["CPU s of both"] = time.process_time() - imported
found["GiB at first batch"], start = anonymous(), time.process_time()
for step in range(1, 20_001):
    reader.window(70 * step, 70, range(64))
    if step in (1_000, 19_000):
        found[f"us a window until {step}"] = (time.process_time() - start) * 1e6 / min(step, 18_000)
        found[f"GiB after {step} windows"], start = anonymous(), time.process_time()
found["us a window of the last 1000"] = (time.process_time() - start) * 1e3
print(json.dumps(found))
"""


class _Numbers:
    unit, name, vocab_size, unk_id, pad_id, bos_id, fingerprint = "word", "numbers", VOCAB, 0, 1, 2, "f" * 32


def _documents(count: int) -> list[tuple[str, Encoded]]:
    """Random documents of 100 to 400 tokens, 250 on average."""
    random = np.random.default_rng(1)
    ends = np.cumsum(random.integers(2 * DOCUMENT // 5, 8 * DOCUMENT // 5 + 1, count)).tolist()
    ids = random.integers(3, VOCAB, ends[-1], dtype=np.uint32)
    return [
        (f"{i:032x}", Encoded(ids[a:b], 5 * (b - a), b - a, 0, 0.0)) for i, (a, b) in enumerate(pairwise([0, *ends]))
    ]


def _stream(folder: Path, documents: list[tuple[str, Encoded]], shards: int) -> Path:
    """A stream of so many shards, the same documents in each."""
    tokenizer = _Numbers()
    names = [folder / f"shard-{number:05d}.h5" for number in range(shards)]
    receipts = [write_shard(name, documents, tokenizer, "0" * 32) for name in names]  # type: ignore[arg-type]
    write_manifest(folder, receipts, tokenizer)  # type: ignore[arg-type]
    return folder


def _microseconds(read: Callable[[int], object], windows: int, repetitions: int = 9) -> list[float]:
    """CPU microseconds a window of reading that many in order, for each repetition."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        for step in range(windows):
            read(step)
        times.append((time.process_time() - start) / windows * 1e6)
    return times


def _report(name: str, times: list[float]) -> float:
    print(f"{name:40s} {median(times):6.1f} us a window (least {min(times):.1f}, most {max(times):.1f})")
    return median(times)


def _reader(folder: Path, shuffle: bool, direction: Direction) -> LaneReader:
    stream = TokenStream.open(folder)
    return LaneReader(stream, epoch_order(stream.num_documents, 1, 0, shuffle), LANES, direction)


def _window(reader: LaneReader, step: int) -> Window:
    return reader.window(step * BPTT, BPTT, range(LANES))


def _copy(rows: np.ndarray, step: int) -> np.ndarray:
    return rows[:, step * BPTT : (step + 1) * BPTT].copy()


def _plain(rows: np.ndarray, step: int) -> Window:
    inputs, targets = (rows[:, at : at + BPTT].T.astype(np.int64, "C") for at in (step * BPTT, step * BPTT + 1))
    return Window(inputs, targets, np.ones(inputs.shape, np.bool_))


def test_time_of_a_window(tmp_path: Path) -> None:
    documents = _documents(64 * 2000)
    one = _stream(tmp_path / "one", documents, 1)
    many = _stream(tmp_path / "many", documents[:2000], 64)
    tokens = TokenStream.open(one).shard_tokens[0]
    rows = tokens[: len(tokens) // LANES * LANES].reshape(LANES, -1)
    windows = rows.shape[1] // BPTT - 1
    print()
    _report("numpy: copy of a strided view, uint16", _microseconds(partial(_copy, rows), windows))
    _report("numpy: the same as a Window", _microseconds(partial(_plain, rows), windows))
    cases: list[tuple[str, Path, bool, Direction]] = [
        ("file order, one shard", one, False, "forward"),
        ("file order, one shard, backward", one, False, "backward"),
        ("shuffled, 64 shards, forward", many, True, "forward"),
        ("shuffled, 64 shards, backward", many, True, "backward"),
    ]
    found = {}
    for name, folder, shuffle, direction in cases:
        found[name] = _report(name, _microseconds(partial(_window, _reader(folder, shuffle, direction)), windows))
    assert max(found.values()) < 100


def test_time_of_one_window_alone(tmp_path: Path) -> None:
    reader = _reader(_stream(tmp_path, _documents(2000), 64), True, "forward")
    places = np.random.default_rng(3).integers(0, reader.max_lane_length - BPTT, 500).tolist()
    print()
    assert (
        _report(
            "shuffled, windows in random order",
            _microseconds(lambda i: reader.window(places[i], BPTT, range(LANES)), len(places)),
        )
        < 10_000
    )


def test_first_batch_and_memory_of_a_billion_tokens(tmp_path: Path) -> None:
    start = time.perf_counter()
    folder = _stream(tmp_path, _documents(62_500), 64)
    print(f"\n{TokenStream.open(folder).num_tokens:,} tokens written in {time.perf_counter() - start:.0f} s")
    for direction in ("forward", "forward", "backward"):
        command = [sys.executable, "-c", _FIRST_BATCH, str(folder), direction]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(direction, ", ".join(f"{name} {value:.3g}" for name, value in found.items()))
        assert found["CPU s of both"] < 2
        assert found["GiB after 1000 windows"] < 1.5
        assert found["us a window of the last 1000"] < 100
    for path in tmp_path.iterdir():
        path.unlink()


def test_opening_a_thousand_shards(tmp_path: Path) -> None:
    folder = _stream(tmp_path, _documents(20), 1000)
    times, cpu = [], []
    for _ in range(5):
        start, cpu_start = time.perf_counter(), time.process_time()
        TokenStream.open(folder)
        times.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    print(f"\n1,000 shards open in {median(times):.2f} s (least {min(times):.2f}), {median(cpu):.2f} s of CPU")
    assert median(times) < 10


def test_a_thousand_flipped_bits_are_found(tmp_path: Path) -> None:
    documents = _documents(40)
    tokenizer = _Numbers()
    cuts = list(pairwise(range(0, 41, 10)))
    receipts = [
        write_shard(tmp_path / f"shard-{i:05d}.h5", documents[a:b], tokenizer, "0" * 32)  # type: ignore[arg-type]
        for i, (a, b) in enumerate(cuts)
    ]
    write_manifest(tmp_path, receipts, tokenizer, [(identity, "x") for identity, _ in documents])  # type: ignore[arg-type]
    random, files, found = np.random.default_rng(7), sorted(tmp_path.iterdir()), 0
    for _ in range(1000):
        path = files[random.integers(len(files))]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        errors = verify_stream(tmp_path)
        found += len(errors) == 1 and str(path) in str(errors[0])
        path.write_bytes(whole)
    print(f"\n{found} of 1,000 flipped bits found and named")
    assert found == 1000
    assert verify_stream(tmp_path) == []
