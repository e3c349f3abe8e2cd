"""Node-local staging: the shards of a stream are copied to the node's own disk before they are mapped.

    CACHE/shards/<xxh3_128>.h5    a shard under the digest of its content: streams that share shards share the copies
    CACHE/leases/<name>           what a living process maps; it holds a lock on the file, which a kill gives back
    CACHE/lock                    held while the cache changes, so that the ranks of a node copy once between them

A copy is checked against the manifest while it is written, and again when a process finds it there and no living one
has checked it before. Shards that nobody maps make room for new ones, the longest unused first.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from ulmfit_dist.corpus.locations import Location, RemotePath, open_at
from ulmfit_dist.corpus.manifest import MANIFEST_NAME, StreamManifest, read_manifest
from ulmfit_dist.corpus.sealed import compare_file, damaged
from ulmfit_dist.corpus.stream import TokenStream
from ulmfit_dist.errors import InputError
from ulmfit_dist.files import atomic_path, storage_error, sweep_temporaries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ulmfit_dist.corpus.shard import ShardReceipt
    from ulmfit_dist.events import Reporter

_BLOCK = 1 << 22


@dataclass(frozen=True)
class ShardCache:
    """A folder on the node's own disk, and how many bytes of shards it may hold."""

    folder: Path
    max_bytes: int

    def open_stream(self, source: Location, reporter: Reporter) -> TokenStream:
        """Open a stream from copies of its shards; `source` is its folder, local or in any file system of fsspec.

        The copies stay where they are until this process ends. Raises InputError when they do not fit the bound,
        DataError when the disk is full, DigestError when the source is not what its manifest says.
        """
        manifest = _manifest_of(source)
        try:
            with self._locked():
                self._hold(source, manifest.shards, reporter)
        except OSError as error:
            if (known := storage_error(error)) is not None:
                raise known from error
            raise
        return TokenStream.of_files(manifest, [self._path(receipt) for receipt in manifest.shards])

    def _hold(self, source: Location, receipts: tuple[ShardReceipt, ...], reporter: Reporter) -> None:
        sweep_temporaries(self._shards)  # of a process that was killed while it copied
        in_use = self._in_use()
        missing = [receipt for receipt in receipts if not self._is_whole(receipt, in_use, reporter)]
        self._make_room(source, receipts, missing, in_use)
        for receipt in missing:
            _copy(_child(source, receipt.name), self._path(receipt), receipt)
        for receipt in receipts:
            os.utime(self._path(receipt))
        self._take_lease([receipt.xxh3_128 for receipt in receipts])
        copied = sum(receipt.bytes for receipt in missing)
        reporter.event("stream-staged", source=str(source), shards=len(receipts), copied=len(missing), bytes=copied)

    def _is_whole(self, receipt: ShardReceipt, in_use: set[str], reporter: Reporter) -> bool:
        path = self._path(receipt)
        if receipt.xxh3_128 in in_use or not path.exists():
            return path.exists()
        damage = compare_file(path, receipt.bytes, receipt.xxh3_128)
        if damage is not None:
            reporter.event("cache-damaged", path=str(path), found=damage.found, action="copied again")
            path.unlink()
        return damage is None

    def _make_room(
        self, source: Location, receipts: tuple[ShardReceipt, ...], missing: list[ShardReceipt], in_use: set[str]
    ) -> None:
        """Delete what nobody maps, the longest unused first, until what is missing fits."""
        files = sorted(self._shards.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name))
        held = sum(path.stat().st_size for path in files)
        room = self.max_bytes - sum(receipt.bytes for receipt in missing)
        kept = in_use | {receipt.xxh3_128 for receipt in receipts}
        unused = [path for path in files if path.stem not in kept]
        if held - sum(path.stat().st_size for path in unused) > room:
            needed = sum(receipt.bytes for receipt in receipts)
            found = f"{needed / 1e9:.3g} GB, the cache may hold {self.max_bytes / 1e9:.3g}, other runs' shards included"
            raise InputError(f"{source} does not fit {self.folder}", found=found, do="raise cache_gb")
        for path in unused:
            if held <= room:
                return
            held -= path.stat().st_size
            path.unlink()

    def _in_use(self) -> set[str]:
        """The digests that living processes map; leases of dead ones are deleted."""
        found: set[str] = set()
        for lease in self._leases.iterdir():
            with lease.open("rb") as file:
                if _try_lock(file.fileno()):
                    lease.unlink()
                else:
                    found.update(json.loads(file.read()))
        return found

    def _take_lease(self, digests: list[str]) -> None:
        # The descriptor stays open, and with it the lock, as long as the process lives.
        descriptor, _ = tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=self._leases)
        assert _try_lock(descriptor)
        os.write(descriptor, json.dumps(digests).encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        for folder in (self._shards, self._leases):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _path(self, receipt: ShardReceipt) -> Path:
        return self._shards / f"{receipt.xxh3_128}.h5"

    @property
    def _shards(self) -> Path:
        return self.folder / "shards"

    @property
    def _leases(self) -> Path:
        return self.folder / "leases"


def _manifest_of(source: Location) -> StreamManifest:
    if isinstance(source, Path):
        return read_manifest(source)
    with tempfile.TemporaryDirectory(prefix="ulmfit-manifest-") as folder:
        try:
            with open_at(_child(source, MANIFEST_NAME)) as file:
                (Path(folder) / MANIFEST_NAME).write_bytes(file.read())
        except FileNotFoundError as error:
            raise InputError(f"{source} is not a token stream", found=str(error), do="check the URL") from error
        return read_manifest(Path(folder))


def _child(folder: Location, name: str) -> Location:
    return folder / name if isinstance(folder, Path) else RemotePath(f"{folder.url.rstrip('/')}/{name}")


def _copy(source: Location, target: Path, receipt: ShardReceipt) -> None:
    state, size = xxhash.xxh3_128(), 0
    with atomic_path(target) as temporary:
        with open_at(source) as reader, temporary.open("wb") as writer:
            while block := reader.read(_BLOCK):
                state.update(block)
                size += len(block)
                writer.write(block)
        if state.hexdigest() != receipt.xxh3_128:
            found = f"{size} bytes with digest {state.hexdigest()}, expected {receipt.bytes} with {receipt.xxh3_128}"
            raise damaged(Path(str(source)), found)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
