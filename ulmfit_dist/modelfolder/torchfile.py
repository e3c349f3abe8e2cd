"""Read files of `torch.save` without torch's loader: the pickle inside as data, tensors from their bytes.

Both formats: the zip archive (since torch 1.6) and the older one, whose storages follow the pickle. Every size and
place is held against the bytes of the file before anything is allocated. Nothing is unpacked to disk.
"""

from __future__ import annotations

import io
import math
import mmap
import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ulmfit_dist.errors import InputError
from ulmfit_dist.modelfolder.pickledata import Made, Name, PickleRules, read_pickle, refused

_MAGIC = 0x1950A86A20F9469CFC6C  # begins the older format; then its version
_VERSION = 1001
_SIGNATURES = {b"\x89HDF": "an HDF5 file (the .h5 of 2018 are torch files)", b"\x1f\x8b": "gzip: unpack it first"}
_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)  # what float32 holds exactly
_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch.nn.parameter.Parameter")
_CONTAINERS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter", "fastcore.foundation.L")
# Optimizers hold numpy's numbers and sets; WeightDrop of awd-lstm-lm a bound method, hence getattr.
_OTHERS = r"_codecs\.encode|numpy\.dtype|numpy\.(_?core)\.multiarray\.scalar|builtins\.(dict|list|set|object|getattr)"
_MODULES = (
    r"torch\.nn\.modules\.[a-z_]+\.[A-Za-z]+|torch\.nn\.backends\.thnn\._get_thnn_function_backend"
    r"|torch\.optim\.[a-z]+\.[A-Za-z]+|model\.RNNModel|weight_drop\.WeightDrop|locked_dropout\.LockedDropout"
    r"|splitcross\.SplitCrossEntropyLoss|torchqrnn\.qrnn\.QRNNLayer|data\.(Corpus|Dictionary)"
)
_STORAGES = rf"torch\.(cuda\.)?({'|'.join(_DTYPES)})"
_KNOWN = re.compile("|".join([*map(re.escape, (*_TENSORS, *_PARAMETERS, *_CONTAINERS)), _OTHERS, _MODULES, _STORAGES]))


class _Storage(NamedTuple):
    """A run of numbers outside the pickle."""

    key: str
    dtype: torch.dtype
    numel: int


class TorchFile:
    """An open file of `torch.save`: `value` is its pickle as data, `tensor` makes a tensor of what stands for one."""

    def __init__(self, path: Path, data: mmap.mmap, value: Any, places: dict[str, tuple[int, int]]) -> None:
        self.path, self.value = path, value
        self._data, self._places = data, places
        self._read: dict[str, Tensor] = {}

    def tensor(self, made: Any, name: str) -> Tensor:
        """Return the float32 tensor that `made` describes, maybe sharing its bytes with others.

        Raises InputError naming the tensor: not one, other numbers than floats of 16 or 32 bits, outside its storage.
        """
        while isinstance(made, Made) and made.name in _PARAMETERS and made.args:
            made = made.args[0]
        arguments = made.args[:4] if isinstance(made, Made) and made.name in _TENSORS else ()
        storage, offset, size, stride = arguments if len(arguments) == 4 else (None, None, None, None)
        if not isinstance(storage, _Storage):
            raise self._refused(name, "no tensor")
        if storage.dtype not in _FLOATS:
            raise self._refused(name, f"numbers of type {str(storage.dtype).removeprefix('torch.')}")
        shape, steps = _whole_numbers(size), _whole_numbers(stride)
        if shape is None or steps is None or type(offset) is not int or not _fits(offset, shape, steps, storage.numel):
            raise self._refused(name, "a tensor that reaches outside its numbers")
        return self._numbers(storage, name).as_strided(shape, steps, offset)

    def _numbers(self, storage: _Storage, name: str) -> Tensor:
        if storage.key not in self._read:
            start, length = self._places.get(storage.key, (0, -1))
            if length != storage.numel * storage.dtype.itemsize:
                found = f"{max(length, 0):,} bytes for {storage.numel:,} numbers"
                raise self._refused(name, found)
            # A copy: in the older format numbers begin at any byte.
            numbers = torch.empty(storage.numel, dtype=storage.dtype)
            numbers.view(torch.uint8).numpy()[:] = np.frombuffer(self._data, np.uint8, length, start)
            self._read[storage.key] = numbers.float()
        return self._read[storage.key]

    def _refused(self, name: str, found: str) -> InputError:
        return refused(str(self.path), f"{found} under the name {name!a:.80}")


def open_torch_file(path: Path) -> TorchFile:
    """Open a file of `torch.save` in either format and read its pickle as data.

    Raises InputError for a file that is missing, damaged, of another kind, or asks for what no weights need.
    """
    data = _map(path)
    head = bytes(data[:512])
    for signature, found in _SIGNATURES.items():
        if head.startswith(signature):
            raise refused(str(path), found)
    if head[257:262] == b"ustar":
        raise refused(str(path), "a tar archive (torch before 0.1.10, 2017)")
    return _open_zip(path, data) if head.startswith(b"PK") else _open_old(path, data)


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise InputError(f"cannot read {path}", found=error.strerror or str(error), do="check the path") from error
    except ValueError as error:
        raise refused(str(path), "an empty file") from error


def _open_zip(path: Path, data: mmap.mmap) -> TorchFile:
    where = str(path)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            members = _members(archive, len(data), where)
            roots = {name.partition("/")[0] for name in members}
            root = roots.pop() if len(roots) == 1 else ""
            if f"{root}/data.pkl" not in members or f"{root}/constants.pkl" in members:
                raise refused(where, "a zip archive that torch.save did not write")
            if f"{root}/byteorder" in members and archive.read(f"{root}/byteorder") != b"little":
                raise refused(where, "numbers in big-endian order")
            value = read_pickle(io.BytesIO(archive.read(f"{root}/data.pkl")), where, _rules({}))
    except (zipfile.BadZipFile, RuntimeError, ValueError, OSError, EOFError) as error:
        raise refused(where, f"a damaged zip archive ({error!s:.100})") from error
    prefix = f"{root}/data/"
    inside = {name.removeprefix(prefix): info for name, info in members.items() if name.startswith(prefix)}
    return TorchFile(path, data, value, {key: _place(data, info, where) for key, info in inside.items()})


def _members(archive: zipfile.ZipFile, size: int, where: str) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    members = {info.filename: info for info in infos}
    if len(members) < len(infos):
        raise refused(where, "a zip archive with two files of one name")
    for name, info in members.items():
        if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
            raise refused(where, f"the file name {name!a:.80} in a zip archive")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise refused(where, f"{name!a:.80}, compressed, which torch.save never does")
    if sum(info.file_size for info in infos) > size:
        raise refused(where, "a zip archive whose files overlap")
    return members


def _place(data: mmap.mmap, info: zipfile.ZipInfo, where: str) -> tuple[int, int]:
    # A zip entry's data follows its local header of 30 bytes, its name and its extra field.
    header = bytes(data[info.header_offset : info.header_offset + 30])
    start = info.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    length = info.file_size
    if not header.startswith(b"PK\3\4") or start + length > len(data):
        raise refused(where, "a zip archive that breaks off")
    with memoryview(data) as view, view[start : start + length] as part:
        if zlib.crc32(part) != info.CRC:
            raise refused(where, f"{info.filename!a:.80}, damaged (its checksum differs)")
    return start, length


def _open_old(path: Path, data: mmap.mmap) -> TorchFile:
    where, stream = str(path), cast("IO[bytes]", data)
    if read_pickle(stream, where, _rules()) != _MAGIC or read_pickle(stream, where, _rules()) != _VERSION:
        raise refused(where, "no file of torch.save")
    system = read_pickle(stream, where, _rules())
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise refused(where, "numbers in big-endian order")
    storages: dict[str, _Storage] = {}
    value = read_pickle(stream, where, _rules(storages))
    keys = read_pickle(stream, where, _rules())
    places: dict[str, tuple[int, int]] = {}
    position = data.tell()
    for key in keys if isinstance(keys, list) else [None]:
        storage = storages.get(key) if isinstance(key, str) else None
        count = int.from_bytes(data[position : position + 8], "little")
        length = count * storage.dtype.itemsize if storage else 0
        if storage is None or position + 8 + length > len(data):
            raise refused(where, "numbers that break off or do not belong to its tensors")
        places[storage.key] = (position + 8, length)
        position += 8 + length
    return TorchFile(path, data, value, places)


def _rules(storages: dict[str, _Storage] | None = None) -> PickleRules:
    def outside(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module" and isinstance(pid[1], Name):
            return pid[1]  # a class, its file and its source, for a warning
        storage = _storage(pid)
        if storages is not None and storages.setdefault(storage.key, storage) != storage:
            raise ValueError("one storage declared in two sizes")
        return storage

    return PickleRules(lambda dotted: _KNOWN.fullmatch(dotted) is not None, outside)


def _storage(pid: Any) -> _Storage:
    if not isinstance(pid, tuple) or len(pid) not in {5, 6} or pid[0] != "storage" or not isinstance(pid[1], Name):
        raise ValueError("a persistent id that is no storage")
    kind, key, count = pid[1].dotted.rpartition(".")[2], pid[2], pid[4]
    if kind not in _DTYPES or type(key) is not str or type(count) is not int or count < 0 or any(pid[5:]):
        raise ValueError("a storage without key, size or type")
    return _Storage(key, _DTYPES[kind], count)


def _whole_numbers(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, tuple) and len(value) <= 4 and all(type(item) is int and item >= 0 for item in value):
        return value
    return None


def _fits(offset: int, shape: tuple[int, ...], steps: tuple[int, ...], numel: int) -> bool:
    # No more elements than numbers: a step of 0 would make any size of one number.
    if len(shape) != len(steps) or not 0 <= offset <= numel or math.prod(shape) > numel:
        return False
    return not math.prod(shape) or offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) < numel
