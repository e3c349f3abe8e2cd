"""Copies of shards on a node's disk: the same stream, copied once, never more than the bound, whatever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import fsspec
import numpy as np
import pytest

from ulmfit_dist.corpus import staging
from ulmfit_dist.corpus.locations import RemotePath
from ulmfit_dist.corpus.staging import ShardCache
from ulmfit_dist.corpus.stream import TokenStream, write_manifest, write_shard
from ulmfit_dist.errors import DataError, DigestError, InputError
from ulmfit_dist.events import EventLog, Silent, read_events
from ulmfit_dist.files import digest_file
from ulmfit_dist.tokenization.tokenizer import Encoded

# Opens a stream through a cache, says so, and waits to be ended.
SCRIPT = """
import sys, time
from pathlib import Path
from ulmfit_dist.corpus import staging
from ulmfit_dist.events import EventLog
source, cache, log, slow = sys.argv[1:]
whole = staging.open_at
class Slow:
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *_): self.file.close()
    def read(self, _):
        block = self.file.read(1000)
        print("copying", flush=True)
        time.sleep(float(slow))
        return block
if float(slow):
    staging.open_at = lambda location: Slow(whole(location))
stream = staging.ShardCache(Path(cache), 10**9).open_stream(Path(source), EventLog(Path(log)))
print("open", stream.num_tokens, flush=True)
time.sleep(60)
"""


class _Numbers:
    unit, name, vocab_size, unk_id, pad_id, bos_id, fingerprint = "word", "numbers", 5000, 0, 1, 2, "f" * 32


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    return write_stream(tmp_path / "stream", 1)


def write_stream(folder: Path, seed: int) -> Path:
    """Write three shards of random tokens, about 20 kB each."""
    folder.mkdir()
    generator = np.random.default_rng(seed)
    ids = generator.integers(3, 5000, 30_000, dtype=np.uint32)
    cuts = list(pairwise(range(0, 30_001, 100)))
    documents = [(f"{seed:016x}{a:016x}", Encoded(ids[a:b], 5 * (b - a), b - a, 0, 0.0)) for a, b in cuts]
    receipts = [
        write_shard(folder / f"shard-{n:05d}.h5", documents[n::3], _Numbers(), "0" * 32)  # type: ignore[arg-type]
        for n in range(3)
    ]
    write_manifest(folder, receipts, _Numbers())  # type: ignore[arg-type]
    return folder


def copies(cache: Path) -> dict[str, int]:
    """Return {digest: bytes} of the shards in a cache, after checking each digest."""
    found = {path.stem: path.stat().st_size for path in (cache / "shards").iterdir()}
    assert all(digest_file(cache / "shards" / f"{digest}.h5") == digest for digest in found)
    return found


def size_of(stream: Path) -> int:
    return sum(path.stat().st_size for path in stream.glob("*.h5"))


def release(cache: Path) -> None:
    """End the leases of this process, as its end would."""
    held = {str(path) for path in (cache / "leases").iterdir()}
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if str(descriptor.readlink()) in held:
                os.close(int(descriptor.name))
        except FileNotFoundError:
            continue


def start(source: Path, cache: Path, log: Path, slow: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(source), str(cache), str(log), str(slow)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert word in next(line for line in process.stdout if word in line)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_the_copy_is_the_same_stream_and_outlives_its_source(stream: Path, tmp_path: Path) -> None:
    source = TokenStream.open(stream)
    expected = [source.document(i).tolist() for i in range(source.num_documents)]
    staged = ShardCache(tmp_path / "cache", 10**9).open_stream(stream, Silent())
    for path in stream.iterdir():
        path.unlink()
    assert [staged.document(i).tolist() for i in range(staged.num_documents)] == expected
    assert staged.manifest == source.manifest
    assert sum(copies(tmp_path / "cache").values()) == sum(receipt.bytes for receipt in source.manifest.shards)


def test_a_second_opening_copies_nothing(stream: Path, tmp_path: Path) -> None:
    cache, log = ShardCache(tmp_path / "cache", 10**9), EventLog(tmp_path / "events.jsonl")
    for _ in range(2):
        cache.open_stream(stream, log)
    staged = [event["copied"] for event in read_events(tmp_path / "events.jsonl")]
    assert staged == [3, 0]


def test_an_object_store_works_the_same_way(stream: Path, tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    for path in stream.iterdir():
        store.pipe_file(f"/bucket/corpus/{path.name}", path.read_bytes())
    staged = ShardCache(tmp_path / "cache", 10**9).open_stream(RemotePath("memory://bucket/corpus"), Silent())
    source = TokenStream.open(stream)
    for index in range(source.num_documents):
        assert staged.document(index).tolist() == source.document(index).tolist()
    with pytest.raises(InputError, match="is not a token stream"):
        ShardCache(tmp_path / "cache", 10**9).open_stream(RemotePath("memory://bucket/nothing"), Silent())


def test_the_longest_unused_makes_room_and_what_is_mapped_stays(tmp_path: Path) -> None:
    streams = [write_stream(tmp_path / f"stream-{seed}", seed) for seed in (1, 2, 3)]
    bound = size_of(streams[0]) + size_of(streams[1]) + 100
    cache = ShardCache(tmp_path / "cache", bound)
    shards = [{receipt.xxh3_128 for receipt in TokenStream.open(stream).manifest.shards} for stream in streams]
    first = cache.open_stream(streams[0], Silent())
    cache.open_stream(streams[1], Silent())
    # Both are mapped by this living process: no room can be made.
    with pytest.raises(InputError, match=r"does not fit .*raise cache_gb"):
        cache.open_stream(streams[2], Silent())
    release(tmp_path / "cache")
    cache.open_stream(streams[0], Silent())  # used again: now the second is the longest unused
    cache.open_stream(streams[2], Silent())
    assert set(copies(tmp_path / "cache")) == shards[0] | shards[2]
    assert sum(copies(tmp_path / "cache").values()) <= bound
    assert first.document(0).tolist() == TokenStream.open(streams[0]).document(0).tolist()


def test_a_stream_larger_than_the_bound_is_refused_and_nothing_is_lost(stream: Path, tmp_path: Path) -> None:
    other = write_stream(tmp_path / "other", 2)
    ShardCache(tmp_path / "cache", size_of(other)).open_stream(other, Silent())
    release(tmp_path / "cache")
    with pytest.raises(InputError, match="does not fit"):
        ShardCache(tmp_path / "cache", size_of(stream) - 1).open_stream(stream, Silent())
    assert sum(copies(tmp_path / "cache").values()) == size_of(other)


@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_a_damaged_copy_is_noticed_and_made_again(stream: Path, tmp_path: Path, place: float) -> None:
    cache, log = ShardCache(tmp_path / "cache", 10**9), EventLog(tmp_path / "events.jsonl")
    cache.open_stream(stream, Silent())
    release(tmp_path / "cache")
    damaged = next((tmp_path / "cache" / "shards").iterdir())
    data = bytearray(damaged.read_bytes())
    data[int(place * len(data))] ^= 4
    damaged.write_bytes(data)
    cache.open_stream(stream, log)
    kinds = {event["kind"]: event for event in read_events(tmp_path / "events.jsonl")}
    assert kinds["cache-damaged"]["path"] == str(damaged)
    assert kinds["stream-staged"]["copied"] == 1
    assert len(copies(tmp_path / "cache")) == 3


def test_a_damaged_source_is_named_and_not_kept(stream: Path, tmp_path: Path) -> None:
    path = stream / "shard-00001.h5"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DigestError, match=r"shard-00001\.h5 is damaged"):
        ShardCache(tmp_path / "cache", 10**9).open_stream(stream, Silent())
    assert len(copies(tmp_path / "cache")) == 1


def test_two_processes_at_once_copy_once(stream: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    log = tmp_path / "events.jsonl"
    processes += [start(stream, tmp_path / "cache", log, 0.005) for _ in range(2)]
    for process in processes:
        said(process, "open 30000")
    assert sorted(event["copied"] for event in read_events(log)) == [0, 3]
    copies(tmp_path / "cache")


def test_a_kill_while_copying_leaves_no_half_shard_and_no_lock(
    stream: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    cache = tmp_path / "cache"
    processes.append(start(stream, cache, tmp_path / "events.jsonl", 0.02))
    said(processes[0], "copying")
    time.sleep(0.1)
    os.kill(processes[0].pid, signal.SIGKILL)
    processes[0].wait()
    assert [path for path in (cache / "shards").iterdir() if ".tmp-" in path.name]
    staged = ShardCache(cache, 10**9).open_stream(stream, Silent())
    assert staged.num_tokens == 30_000
    assert len(copies(cache)) == 3


def test_a_dead_process_holds_nothing(stream: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    other, cache = write_stream(tmp_path / "other", 2), ShardCache(tmp_path / "cache", size_of(stream) + 100)
    processes.append(start(stream, cache.folder, tmp_path / "events.jsonl"))
    said(processes[0], "open")
    with pytest.raises(InputError, match="does not fit"):
        cache.open_stream(other, Silent())
    processes[0].kill()
    processes[0].wait()
    assert cache.open_stream(other, Silent()).num_tokens == 30_000
    assert sum(copies(cache.folder).values()) == size_of(other)
    assert len(list((cache.folder / "leases").iterdir())) == 1


def test_a_full_disk_is_said_and_leaves_whole_shards_only(
    stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, seen = staging.open_at, [0]

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def read(self, size: int) -> bytes:
            seen[0] += 1
            if seen[0] > 2:
                raise OSError(28, "No space left on device")
            return bytes(self.file.read(size))

    monkeypatch.setattr(staging, "open_at", lambda location: Full(whole(location)))
    with pytest.raises(DataError, match="No space left on device"):
        ShardCache(tmp_path / "cache", 10**9).open_stream(stream, Silent())
    assert len(copies(tmp_path / "cache")) == 1
    monkeypatch.undo()
    assert ShardCache(tmp_path / "cache", 10**9).open_stream(stream, Silent()).num_tokens == 30_000
