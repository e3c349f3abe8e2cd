"""Tensors are those of torch's own loader; files that are not what torch writes are refused."""

from __future__ import annotations

import io
import random
import zipfile
from copy import copy

import pytest
import torch

from ulmfit_dist.errors import InputError
from ulmfit_dist.modelfolder.torchfile import open_torch_file


def examples():
    flat = torch.randn(100, generator=torch.Generator().manual_seed(1))
    return {
        "whole": flat.view(10, 10).clone(),
        "part": flat[20:44].view(4, 6),
        "other part": flat[44:50],
        "turned": flat[:12].view(3, 4).t(),
        "half": flat.half(),
        "bfloat16": flat.bfloat16().view(5, 20),
        "empty": torch.zeros(0, 3),
        "one": torch.tensor(2.5),
        "parameter": torch.nn.Parameter(flat[:3].clone()),
    }


@pytest.mark.parametrize("old", [False, True])
def test_tensors_are_those_of_torch(published, tmp_path, old):
    path = published.save(tmp_path / "weights.pth", examples(), old)
    file = open_torch_file(path)
    theirs = torch.load(path, weights_only=True)
    assert list(file.value) == list(theirs)
    for name, tensor in theirs.items():
        ours = file.tensor(file.value[name], name)
        assert ours.dtype == torch.float32
        assert torch.equal(ours, tensor.detach().float())


def test_tied_tensors_share_their_numbers(published, tmp_path):
    tied = torch.randn(3, 4)
    file = open_torch_file(published.save(tmp_path / "weights.pth", {"a": tied, "b": tied}))
    assert file.tensor(file.value["a"], "a").data_ptr() == file.tensor(file.value["b"], "b").data_ptr()


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.int8, torch.bool])
def test_other_numbers_are_refused_by_name(published, tmp_path, dtype):
    file = open_torch_file(published.save(tmp_path / "weights.pth", {"a": torch.ones(3).to(dtype)}))
    with pytest.raises(InputError, match=f"numbers of type {str(dtype)[6:]} under the name 'a'"):
        file.tensor(file.value["a"], "a")


@pytest.mark.parametrize("value", [None, 3, [1.0], {"a": 1}, ("x",)])
def test_what_is_no_tensor(published, tmp_path, value):
    file = open_torch_file(published.save(tmp_path / "weights.pth", {"a": value}))
    with pytest.raises(InputError, match="no tensor"):
        file.tensor(file.value["a"], "a")


@pytest.mark.parametrize("old", [False, True])
def test_truncated_anywhere(published, tmp_path, old):
    content = published.save(tmp_path / "weights.pth", {"a": torch.ones(30, 30)}, old).read_bytes()
    lengths = [*range(40), *random.Random(1).sample(range(40, len(content)), 60), len(content) - 1]
    cut = tmp_path / "cut.pth"
    for length in lengths:
        cut.write_bytes(content[:length])
        with pytest.raises(InputError):
            open_torch_file(cut)


def test_damaged_numbers_of_an_archive(published, tmp_path):
    path = published.save(tmp_path / "weights.pth", {"a": torch.full((50,), 1.5)})
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor(1.5).numpy().tobytes() * 3)] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        open_torch_file(path)


def rewritten(path, change=None, extra=None, compression=zipfile.ZIP_STORED):
    """Write an archive again; `change` maps a member's (name, content), `extra` is one more."""
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in [*members, *([extra] if extra else [])]:
            archive.writestr(*(change(name, content) if change else (name, content)))


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, None),
        ({"extra": ("../../weights/x", b"")}, "file name"),
        ({"extra": ("/weights/x", b"")}, "file name"),
        ({"extra": ("weights\\x", b"")}, "file name"),
        ({"extra": ("weights/constants.pkl", b"N.")}, "did not write"),
        ({"extra": ("second/data.pkl", b"N.")}, "did not write"),
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        ({"change": lambda name, content: (name, b"big" if name.endswith("order") else content)}, "big-endian"),
        ({"change": lambda name, content: (name.replace("data.pkl", "x.pkl"), content)}, "did not write"),
    ],
)
def test_archives_that_torch_did_not_write(published, tmp_path, arguments, found):
    path = published.save(tmp_path / "weights.pth", {"a": torch.ones(3)})
    rewritten(path, **arguments)
    if found is None:  # the archive is good when nothing was changed
        assert open_torch_file(path).value.keys() == {"a"}
        return
    with pytest.raises(InputError, match=found):
        open_torch_file(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name(published, tmp_path):
    path = published.save(tmp_path / "weights.pth", {"a": torch.ones(3)})
    rewritten(path, extra=("weights/data/0", bytes(12)))
    with pytest.raises(InputError, match="two files of one name"):
        open_torch_file(path)


def test_files_that_overlap(published, tmp_path):
    path = published.save(tmp_path / "weights.pth", {"a": torch.ones(3000)})
    with zipfile.ZipFile(path, "a") as archive:
        for key in range(1, 40):  # the numbers of the first under 39 other names: 40 times the file in memory
            twin = copy(archive.getinfo("weights/data/0"))
            twin.filename = f"weights/data/{key}"
            archive.filelist.append(twin)
        archive._didModify = True
    with pytest.raises(InputError, match="overlap"):
        open_torch_file(path)


@pytest.mark.parametrize(("key", "size"), [(0, 8), (0, 16), (None, 12)])
def test_numbers_that_do_not_fit_the_archive(published, tmp_path, key, size):
    path = published.save(tmp_path / "weights.pth", {"a": torch.ones(3)})
    rewritten(path, lambda name, content: (name.replace("data/0", f"data/{key}"), bytes(size)) if "data/0" in name
              else (name, content))  # fmt: skip
    file = open_torch_file(path)
    with pytest.raises(InputError, match="bytes for 3 numbers"):
        file.tensor(file.value["a"], "a")


def with_numbers(path, **change):
    """A tensor of 6 numbers whose offset, size or steps are others than torch wrote."""
    made = {"offset": 0, "size": (2, 3), "stride": (3, 1)} | change

    class Tensor:
        def __reduce__(self):
            storage = torch.storage.TypedStorage(
                wrap_storage=torch.arange(6.0).untyped_storage(), dtype=torch.float32, _internal=True
            )
            rest = made["offset"], made["size"], made["stride"], False, {}
            return torch._utils._rebuild_tensor_v2, (storage, *rest)

    torch.save({"a": Tensor()}, path)
    return path


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"offset": 2, "size": (2, 2), "stride": (2, 1)}, True),
        ({"offset": 1}, False),
        ({"offset": -1}, False),
        ({"offset": 2**62}, False),
        ({"offset": 0.0}, False),
        ({"size": (3, 3)}, False),
        ({"size": (1000, 1000), "stride": (0, 0)}, False),
        ({"size": (2, 2), "stride": (5, 1)}, False),
        ({"size": (2, -3)}, False),
        ({"size": (2, 2), "stride": (-1, 1)}, False),
        ({"size": (2, 3, 1)}, False),
        ({"size": [2, 3]}, False),
        ({"size": (True, 3)}, False),
        ({"size": (1,) * 5, "stride": (1,) * 5}, False),
    ],
)
def test_tensors_stay_inside_their_numbers(tmp_path, change, good):
    file = open_torch_file(with_numbers(tmp_path / "weights.pth", **change))
    if good:
        theirs = torch.load(tmp_path / "weights.pth", weights_only=True)["a"]
        assert torch.equal(file.tensor(file.value["a"], "a"), theirs)
        return
    with pytest.raises(InputError, match="outside its numbers"):
        file.tensor(file.value["a"], "a")


def persistent(path, pid):
    """An archive whose one value is a persistent id."""
    torch.save({"a": torch.ones(3)}, path)
    rewritten(
        path, lambda name, content: (name, b"\x80\x02" + pid + b"Q.") if name.endswith("pkl") else (name, content)
    )
    return path


@pytest.mark.parametrize(
    "pid",
    [
        b"N",
        b"X\x01\x00\x00\x000",
        b")",
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuX\x01\x00\x00\x003t",
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nK\x00X\x03\x00\x00\x00cpuK\x03t",
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ\xff\xff\xff\xfft",
        b"(X\x07\x00\x00\x00storageX\x01\x00\x00\x000X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x03t",
        b"(X\x07\x00\x00\x00storageccollections\nCounter\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x03t",
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x03K\x01t",
        b"(X\x06\x00\x00\x00moduleX\x01\x00\x00\x000NNt",
    ],
)
def test_persistent_ids_that_are_no_storages(tmp_path, pid):
    with pytest.raises(InputError, match="persistent id|storage without"):
        open_torch_file(persistent(tmp_path / "weights.pth", pid))


def old_bytes():
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(3.0)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda content: content.replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89"), "big-endian"),
        (lambda content: content.replace(b"M\xe9\x03", b"M\xea\x03", 1), "no file of torch.save"),
        (lambda content: content[:-20] + (4).to_bytes(8, "little") + content[-12:], "break off"),
        (lambda content: content[:-20] + (2**40).to_bytes(8, "little") + content[-12:], "break off"),
        (lambda content: b"\x89HDF" + content, "HDF5"),
        (lambda content: b"\x1f\x8b" + content, "gzip"),
        (lambda content: b"", "empty"),
        (lambda content: b"not a pickle at all", "breaks off"),
    ],
)
def test_files_of_the_older_format(tmp_path, change, found):
    path = tmp_path / "weights.pth"
    path.write_bytes(old_bytes())
    assert open_torch_file(path).value.keys() == {"a"}
    path.write_bytes(change(old_bytes()))
    with pytest.raises(InputError, match=found):
        open_torch_file(path)


def test_one_storage_under_two_types(published, tmp_path):
    path = published.save(tmp_path / "weights.pth", {"a": torch.ones(3), "b": torch.ones(6).half()})
    key = b"X\x01\x00\x00\x00%d"  # as the pickle has it: a string of one character
    rewritten(path, lambda name, content: (name, content.replace(key % 1, key % 0) if "pkl" in name else content))
    with pytest.raises(InputError, match="one storage declared in two sizes"):
        open_torch_file(path)


def test_fewer_numbers_than_the_older_format_declared(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(old_bytes()[:-20] + (2).to_bytes(8, "little") + bytes(8))
    file = open_torch_file(path)
    with pytest.raises(InputError, match="8 bytes for 3 numbers"):
        file.tensor(file.value["a"], "a")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        open_torch_file(tmp_path / "none.pth")
